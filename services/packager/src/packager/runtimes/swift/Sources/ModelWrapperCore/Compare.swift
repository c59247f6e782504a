import Foundation

/// How far predictions may be apart; `mask` is of 1 - IoU.
struct Tolerance {
    var confidence = 0.0
    var pixels = 0.0
    var mask = 0.0
}

/// Predictions and outputs against those expected.
enum Compare {
    /// Every prediction has its counterpart of the same class, all that belongs to it within the tolerances.
    ///
    /// One that is within tolerance of the threshold (for a classifier, of the end of its list) may be missing on either side,
    /// and so may a region of a thousandth of the picture.
    static func predictions(
        _ got: [Prediction], _ expected: [Prediction], threshold: Double?, allowed: Tolerance, boxes: Bool
    ) -> Verdict {
        var rest = got
        var worst = Tolerance()
        var alone: [Prediction] = []
        for wanted in expected {
            guard let (place, apart) = nearest(wanted, rest, boxes: boxes) else {
                alone.append(wanted)
                continue
            }
            rest.remove(at: place)
            worst.confidence = max(worst.confidence, apart.confidence)
            worst.pixels = max(worst.pixels, apart.pixels)
            worst.mask = max(worst.mask, apart.mask)
        }
        let floor = threshold ?? expected.map { $0.confidence }.min() ?? 0.0
        alone = (alone + rest).filter { $0.confidence > floor + allowed.confidence && !isSpeck($0) }
        let isNear =
            worst.confidence <= allowed.confidence && worst.pixels <= allowed.pixels && worst.mask <= allowed.mask
        let apart = String(
            format: "confidence %.1e, %.1e pixels, masks %.1e apart", worst.confidence, worst.pixels, worst.mask)
        var detail = "\(got.count) predictions for \(expected.count) expected, \(apart)"
        if let first = alone.first {
            detail += "; without counterpart: \(first.className) \(first.confidence)"
        }
        return Verdict(passed: alone.isEmpty && isNear, detail: detail)
    }

    /// The place of the nearest prediction of the same class, and how far it is.
    private static func nearest(_ wanted: Prediction, _ rest: [Prediction], boxes: Bool) -> (Int, Tolerance)? {
        var best: (Int, Tolerance)?
        for (place, found) in rest.enumerated()
        where found.classId == wanted.classId && found.className == wanted.className {
            let apart = distance(wanted, found, boxes: boxes)
            if let (_, least) = best, !isLess(apart, least) {
                continue
            }
            best = (place, apart)
        }
        return best
    }

    private static func isLess(_ a: Tolerance, _ b: Tolerance) -> Bool {
        if a.pixels != b.pixels {
            return a.pixels < b.pixels
        }
        return a.mask != b.mask ? a.mask < b.mask : a.confidence < b.confidence
    }

    /// The differences of two predictions; infinite where one has what the other lacks.
    static func distance(_ a: Prediction, _ b: Prediction, boxes: Bool) -> Tolerance {
        var apart = Tolerance(confidence: abs(a.confidence - b.confidence), pixels: 0.0, mask: 0.0)
        if let one = a.rotatedBox, let other = b.rotatedBox {
            apart.pixels = max(abs(one.centerX - other.centerX), abs(one.centerY - other.centerY))
        }
        if boxes || a.rotatedBox != nil {
            apart.pixels = max(apart.pixels, boxDistance(a.bbox, b.bbox))
        }
        apart.pixels = max(apart.pixels, pointDistance(a.keypoints ?? [], b.keypoints ?? []))
        if let one = a.mask, let other = b.mask {
            apart.mask = maskDistance(one, other)
        } else if a.mask != nil || b.mask != nil {
            apart.mask = Double.infinity
        }
        return apart
    }

    private static func boxDistance(_ a: BoundingBox?, _ b: BoundingBox?) -> Double {
        guard let one = a, let other = b else {
            return a == b ? 0.0 : Double.infinity
        }
        let horizontal = max(abs(one.x1 - other.x1), abs(one.x2 - other.x2))
        return max(horizontal, abs(one.y1 - other.y1), abs(one.y2 - other.y2))
    }

    private static func pointDistance(_ a: [Keypoint], _ b: [Keypoint]) -> Double {
        if a.count != b.count {
            return Double.infinity
        }
        return zip(a, b).map { max(abs($0.x - $1.x), abs($0.y - $1.y)) }.max() ?? 0.0
    }

    /// 1 - IoU.
    private static func maskDistance(_ a: Mask, _ b: Mask) -> Double {
        if a.size != b.size {
            return Double.infinity
        }
        var shared = 0
        var either = 0
        for (one, other) in zip(a.pixels(), b.pixels()) {
            shared += one && other ? 1 : 0
            either += one || other ? 1 : 0
        }
        return 1.0 - Double(shared) / max(Double(either), 1.0)
    }

    /// Whether it is a mask of less than a thousandth of the picture.
    private static func isSpeck(_ prediction: Prediction) -> Bool {
        guard let mask = prediction.mask else {
            return false
        }
        return Double(mask.area) < Double(mask.size.area) / 1000.0
    }

    /// Largest absolute difference over the largest absolute value; infinite for another number of values.
    static func relativeDifference(_ got: [Float], _ expected: [Float]) -> Double {
        if got.count != expected.count {
            return Double.infinity
        }
        let difference = zip(got, expected).map { abs(Double($0) - Double($1)) }.max() ?? 0.0
        return difference / scale(expected)
    }

    /// Like `relativeDifference`, for rows in any order that several outputs [1, rows, …] hold together.
    static func setDifference(_ got: [FloatArray], _ expected: [FloatArray]) -> Double {
        if got.map({ $0.shape }) != expected.map({ $0.shape }) {
            return Double.infinity
        }
        let scales = expected.map { scale($0.values) }
        let a = rows(got, scales)
        let b = rows(expected, scales)
        var nearestA = [Double](repeating: Double.infinity, count: a.count)
        var nearestB = [Double](repeating: Double.infinity, count: b.count)
        for (i, one) in a.enumerated() {
            for (j, other) in b.enumerated() {
                let apart = zip(one, other).map { abs($0 - $1) }.max() ?? 0.0
                nearestA[i] = min(nearestA[i], apart)
                nearestB[j] = min(nearestB[j], apart)
            }
        }
        return max(nearestA.max() ?? 0.0, nearestB.max() ?? 0.0)
    }

    private static func scale(_ values: [Float]) -> Double {
        return max(values.map { Double(abs($0)) }.max() ?? 0.0, 1e-12)
    }

    /// The rows of all outputs side by side, each output divided by its scale.
    private static func rows(_ outputs: [FloatArray], _ scales: [Double]) -> [[Double]] {
        let count = outputs.first.map { $0.shape[1] } ?? 0
        return (0..<count).map { row in
            var numbers: [Double] = []
            for (output, scale) in zip(outputs, scales) {
                let width = output.values.count / count
                let part = output.values[(row * width)..<((row + 1) * width)]
                numbers.append(contentsOf: part.map { Double($0) / scale })
            }
            return numbers
        }
    }
}
