import Foundation

/// What a check found.
struct Verdict {
    let passed: Bool
    let detail: String
}

/// What a tensor is recognised by: type, shape, CRC-32 of its little-endian bytes, and a few values for messages.
enum Fingerprint {
    /// Whether a tensor has the fingerprint; if not, the first stored value that differs.
    static func compare(_ tensor: Tensor, _ expected: JSON) -> Verdict {
        let shape = (expected["shape"]?.asArray ?? []).compactMap { $0.asInteger }
        let dtype = expected["dtype"]?.asText ?? ""
        if tensor.dtype != dtype || tensor.shape != shape {
            return Verdict(passed: false, detail: "\(tensor.dtype) \(tensor.shape), expected \(dtype) \(shape)")
        }
        let got = String(format: "%08x", crc32(tensor.bytes))
        let wanted = expected["crc32"]?.asText ?? ""
        if got == wanted {
            return Verdict(passed: true, detail: "equal to the bit")
        }
        for sample in expected["samples"]?.asArray ?? [] {
            guard let pair = sample.asArray, pair.count == 2, let place = pair[0].asInteger,
                let value = pair[1].asNumber
            else {
                continue
            }
            let found = number(tensor, place)
            if found != value {
                return Verdict(passed: false, detail: "value \(place) is \(found), expected \(value)")
            }
        }
        return Verdict(passed: false, detail: "CRC-32 \(got), expected \(wanted)")
    }

    private static func number(_ tensor: Tensor, _ place: Int) -> Double {
        switch tensor.values {
        case .float32(let numbers):
            return numbers.indices.contains(place) ? Double(numbers[place]) : Double.nan
        case .uint8(let pixels):
            return pixels.indices.contains(place) ? Double(pixels[place]) : Double.nan
        }
    }

    private static let table: [UInt32] = (0..<256).map { byte in
        var value = UInt32(byte)
        for _ in 0..<8 {
            value = value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1
        }
        return value
    }

    /// The CRC-32 of zip and PNG.
    static func crc32(_ bytes: [UInt8]) -> UInt32 {
        var value: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            value = table[Int((value ^ UInt32(byte)) & 255)] ^ (value >> 8)
        }
        return value ^ 0xFFFF_FFFF
    }
}
