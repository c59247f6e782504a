/// An upright box in pixels of the source picture; `x2` and `y2` are its far edges.
public struct BoundingBox: Equatable, Sendable {
    public let x1: Double
    public let y1: Double
    public let x2: Double
    public let y2: Double
}

/// A box turned by `angle` radians, clockwise as y goes down.
public struct RotatedBox: Equatable, Sendable {
    public let centerX: Double
    public let centerY: Double
    public let width: Double
    public let height: Double
    public let angle: Double
}

/// A point of an object and how sure the model is of it, 1 where it does not tell.
public struct Keypoint: Equatable, Sendable {
    public let x: Double
    public let y: Double
    public let confidence: Double
}

/// One class of a picture, one detected object, or all pixels of one class.
///
/// What the task has not is nil. Of a rotated box and of a segmentation `bbox` is the enclosing box; `mask` is as large as the
/// picture.
public struct Prediction: Equatable, Sendable {
    public let classId: Int
    public let className: String
    public let confidence: Double
    public let bbox: BoundingBox?
    public let rotatedBox: RotatedBox?
    public let keypoints: [Keypoint]?
    public let mask: Mask?
}

extension Prediction: CustomStringConvertible {
    /// One line for people.
    public var description: String {
        var parts = ["\(className) \(confidence)"]
        if let box = bbox {
            parts.append("[\(box.x1), \(box.y1), \(box.x2), \(box.y2)]")
        }
        if let points = keypoints {
            parts.append("\(points.count) keypoints")
        }
        if let mask = mask {
            parts.append("\(mask.area) pixels")
        }
        return parts.joined(separator: "  ")
    }
}
