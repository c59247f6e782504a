import Foundation

/// Rotated boxes cx cy w h angle (radians): their overlap, suppression and corners, with the trainer's float32 arithmetic.
///
/// The overlap is Ultralytics' probabilistic IoU (https://arxiv.org/pdf/2106.06072v1.pdf): boxes are Gaussians, compared by
/// the Hellinger distance. Its suppression differs from the greedy one: a box goes if it overlaps any better box of its class,
/// even one that went itself.
enum Rotated {
    private static let epsilon: Float = 1e-7

    /// Indices of the boxes to keep, best first, at most `limit`.
    static func suppress(_ found: Candidates, iou: Float, limit: Int, agnostic: Bool) -> [Int] {
        let order = Array(descending(found.scores).prefix(NMS.maxCandidates))
        let apart = order.map { moved(found.boxes[$0], agnostic ? 0 : Float(found.classes[$0]) * NMS.classOffset) }
        let shapes = apart.map { covariance($0) }
        var kept: [Int] = []
        for candidate in apart.indices {
            if kept.count >= limit {
                break
            }
            let goes = (0..<candidate).contains { better in
                overlap(apart[better], shapes[better], apart[candidate], shapes[candidate]) > iou
            }
            if !goes {
                kept.append(candidate)
            }
        }
        return kept.map { order[$0] }
    }

    private static func moved(_ box: [Float], _ by: Float) -> [Float] {
        return [box[0] + by, box[1] + by, box[2], box[3], box[4]]
    }

    /// The Gaussian [[a, c], [c, b]] that stands for a box.
    struct Covariance {
        let a: Float
        let b: Float
        let c: Float
    }

    /// Probabilistic IoU.
    static func overlap(_ a: [Float], _ one: Covariance, _ b: [Float], _ other: Covariance) -> Float {
        let dx = b[0] - a[0]
        let dy = a[1] - b[1]
        let wide = one.a + other.a
        let high = one.b + other.b
        let mixed = one.c + other.c
        let spread = wide * high - mixed * mixed
        let near = (wide * (dy * dy) + high * (dx * dx)) / (spread + epsilon) * 0.25
        let turned = (mixed * dx * dy) / (spread + epsilon) * 0.5
        let own = greater(one.a * one.b - one.c * one.c, 0) * greater(other.a * other.b - other.c * other.c, 0)
        let shape = log(spread / (4 * own.squareRoot() + epsilon) + epsilon) * 0.5
        let distance = lesser(greater(near + turned + shape, epsilon), 100)
        return 1 - (1 - exp(-distance) + epsilon).squareRoot()
    }

    static func covariance(_ box: [Float]) -> Covariance {
        let w = box[2] * box[2] / 12
        let h = box[3] * box[3] / 12
        let cosine = cos(box[4])
        let sine = sin(box[4])
        let cosine2 = cosine * cosine
        let sine2 = sine * sine
        return Covariance(
            a: w * cosine2 + h * sine2, b: w * sine2 + h * cosine2, c: (w - h) * cosine * sine)
    }

    /// The upright box x1 y1 x2 y2 around a rotated one; it may reach beyond the picture, as its box does.
    static func enclosing(_ box: [Float]) -> [Float] {
        let points = corners(box)
        let xs = points.map { $0[0] }
        let ys = points.map { $0[1] }
        return [
            xs.reduce(xs[0]) { lesser($0, $1) },
            ys.reduce(ys[0]) { lesser($0, $1) },
            xs.reduce(xs[0]) { greater($0, $1) },
            ys.reduce(ys[0]) { greater($0, $1) },
        ]
    }

    /// The four corners of a box, x y each.
    static func corners(_ box: [Float]) -> [[Float]] {
        let cosine = cos(box[4])
        let sine = sin(box[4])
        let width = box[2] / 2
        let height = box[3] / 2
        let alongX = width * cosine
        let alongY = width * sine
        let besideX = -height * sine
        let besideY = height * cosine
        return [
            [box[0] + alongX + besideX, box[1] + alongY + besideY],
            [box[0] + alongX - besideX, box[1] + alongY - besideY],
            [box[0] - alongX - besideX, box[1] - alongY - besideY],
            [box[0] - alongX + besideX, box[1] - alongY + besideY],
        ]
    }
}
