/// Greedy non-maximum suppression, class-aware; the order and the float32 arithmetic are the trainer's.
enum NMS {
    /// Boxes of different classes are moved this many pixels apart, as Ultralytics does, so that they never overlap.
    static let classOffset: Float = 7680
    static let maxCandidates = 30_000

    /// Indices of the boxes x1 y1 x2 y2 to keep, best first, at most `limit`.
    ///
    /// A box goes if its IoU with a kept, better one of its class is greater than `iou`; equal scores keep their order.
    static func suppress(_ found: Candidates, iou: Float, limit: Int, agnostic: Bool) -> [Int] {
        let order = Array(descending(found.scores).prefix(maxCandidates))
        let apart = order.map { moved(found.boxes[$0], agnostic ? 0 : Float(found.classes[$0]) * classOffset) }
        var kept: [Int] = []
        for candidate in apart.indices {
            if kept.count >= limit {
                break
            }
            let goes = kept.contains { overlap(apart[$0], apart[candidate]) > iou }
            if !goes {
                kept.append(candidate)
            }
        }
        return kept.map { order[$0] }
    }

    private static func moved(_ box: [Float], _ by: Float) -> [Float] {
        return [box[0] + by, box[1] + by, box[2] + by, box[3] + by]
    }

    /// Intersection over union; an empty pair gives NaN, which suppresses nothing.
    static func overlap(_ a: [Float], _ b: [Float]) -> Float {
        let width = greater(lesser(a[2], b[2]) - greater(a[0], b[0]), 0)
        let height = greater(lesser(a[3], b[3]) - greater(a[1], b[1]), 0)
        let shared = width * height
        return shared / (area(a) + area(b) - shared)
    }

    private static func area(_ box: [Float]) -> Float {
        return (box[2] - box[0]) * (box[3] - box[1])
    }
}
