/// Predictions as the golden vectors store them.
extension Prediction {
    init(golden value: JSON) {
        self.init(
            classId: value["class_id"]?.asInteger ?? -1,
            className: value["class_name"]?.asText ?? "",
            confidence: value["confidence"]?.asNumber ?? Double.nan,
            bbox: Prediction.box(value["bbox"]),
            rotatedBox: Prediction.rotated(value["rotated_box"]),
            keypoints: value["keypoints"]?.asArray?.compactMap { Prediction.point($0) },
            mask: Prediction.runs(value["mask"]))
    }

    private static func numbers(_ value: JSON?) -> [Double] {
        return (value?.asArray ?? []).compactMap { $0.asNumber }
    }

    private static func box(_ value: JSON?) -> BoundingBox? {
        let edges = numbers(value)
        return edges.count == 4 ? BoundingBox(x1: edges[0], y1: edges[1], x2: edges[2], y2: edges[3]) : nil
    }

    private static func rotated(_ value: JSON?) -> RotatedBox? {
        let parts = numbers(value)
        guard parts.count == 5 else {
            return nil
        }
        return RotatedBox(centerX: parts[0], centerY: parts[1], width: parts[2], height: parts[3], angle: parts[4])
    }

    private static func point(_ value: JSON) -> Keypoint? {
        let parts = numbers(value)
        return parts.count == 3 ? Keypoint(x: parts[0], y: parts[1], confidence: parts[2]) : nil
    }

    private static func runs(_ value: JSON?) -> Mask? {
        let size = numbers(value?["size"])
        guard size.count == 2 else {
            return nil
        }
        let area = ImageSize(height: Int(size[0]), width: Int(size[1]))
        let counts = (value?["counts"]?.asArray ?? []).compactMap { $0.asInteger }
        let fits = counts.allSatisfy { $0 >= 0 && $0 <= area.area } && counts.reduce(0, +) == area.area
        return fits ? Mask(size: area, counts: counts) : nil
    }
}
