import Foundation

extension JSON {
    /// One line of JSON (RFC 8259); numbers that it has no word for become null.
    public var text: String {
        switch self {
        case .null:
            return "null"
        case .bool(let value):
            return value ? "true" : "false"
        case .number(let value):
            if !value.isFinite {
                return "null"
            }
            return Int(exactly: value).map { String($0) } ?? String(value)
        case .string(let value):
            return JSON.quoted(value)
        case .array(let values):
            return "[" + values.map { $0.text }.joined(separator: ", ") + "]"
        case .object(let members):
            let pairs = members.map { JSON.quoted($0.key) + ": " + $0.value.text }
            return "{" + pairs.joined(separator: ", ") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            } else if byte < 32 {
                bytes.append(contentsOf: Array(String(format: "\\u%04x", UInt32(byte)).utf8))
            } else {
                bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// An array of numbers.
    static func numbers(_ values: [Double]) -> JSON {
        return .array(values.map { JSON.number($0) })
    }
}

extension Prediction {
    /// The same names as in every other language; what the task has not is left out, but for `bbox`. `json.text` is one line.
    public var json: JSON {
        var members = [
            JSON.Member(key: "class_id", value: JSON.number(Double(classId))),
            JSON.Member(key: "class_name", value: JSON.string(className)),
            JSON.Member(key: "confidence", value: JSON.number(confidence)),
            JSON.Member(key: "bbox", value: bbox.map { JSON.numbers([$0.x1, $0.y1, $0.x2, $0.y2]) } ?? JSON.null),
        ]
        if let box = rotatedBox {
            let numbers = JSON.numbers([box.centerX, box.centerY, box.width, box.height, box.angle])
            members.append(JSON.Member(key: "rotated_box", value: numbers))
        }
        if let points = keypoints {
            let all = points.map { JSON.numbers([$0.x, $0.y, $0.confidence]) }
            members.append(JSON.Member(key: "keypoints", value: JSON.array(all)))
        }
        if let mask = mask {
            let size = JSON.numbers([Double(mask.size.height), Double(mask.size.width)])
            let counts = JSON.numbers(mask.counts.map { Double($0) })
            let parts = [JSON.Member(key: "size", value: size), JSON.Member(key: "counts", value: counts)]
            members.append(JSON.Member(key: "mask", value: JSON.object(parts)))
        }
        return .object(members)
    }
}
