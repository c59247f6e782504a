/// golden_vectors.safetensors: examples that a wrapper of any language repeats.
///
/// Eight bytes of header length, a JSON header with dtype, shape and place of each array, then their bytes, little-endian
/// (https://github.com/huggingface/safetensors#format). `__metadata__.vectors` is a JSON text with three lists: `preprocess`,
/// `postprocess` and `model`.
public struct Goldens: Sendable {
    static let schemaVersion = 1
    static let maxHeaderBytes = 64 << 20

    public let vectors: JSON
    let arrays: [String: StoredArray]

    /// Throws `golden_vectors_unreadable` for anything else than such a file.
    public init(_ data: [UInt8]) throws {
        guard data.count >= 8, let size = Int(exactly: littleEndian(data, at: 0, bytes: 8)) else {
            throw ProcessingError.goldens("is no safetensors file")
        }
        if size > min(Goldens.maxHeaderBytes, data.count - 8) {
            throw ProcessingError.goldens("is no safetensors file")
        }
        let header = try Goldens.json(Array(data[8..<(8 + size)]))
        guard let text = header["__metadata__"]?["vectors"]?.asText else {
            throw ProcessingError.goldens("has no vectors")
        }
        let known = try Goldens.json(Array(text.utf8))
        guard let version = known["schema_version"], version == JSON.number(Double(Goldens.schemaVersion)) else {
            throw ProcessingError.goldens("has another schema version than \(Goldens.schemaVersion)")
        }
        vectors = known
        var found: [String: StoredArray] = [:]
        for member in header.asMembers ?? [] where member.key != "__metadata__" {
            found[member.key] = try StoredArray(member.value, data, base: 8 + size)
        }
        arrays = found
    }

    private static func json(_ text: [UInt8]) throws -> JSON {
        do {
            return try JSON.parse(text)
        } catch let error as JSON.Malformed {
            throw ProcessingError.goldens("cannot be read (\(error))")
        }
    }

    /// An array by its name.
    func array(_ name: String) throws -> StoredArray {
        guard let array = arrays[name] else {
            throw ProcessingError.goldens("has no array \(name)")
        }
        return array
    }

    /// A picture uint8 [H, W, 3].
    func picture(_ name: String) throws -> RGBImage {
        let stored = try array(name)
        guard stored.dtype == "U8", stored.shape.count == 3, stored.shape[2] == 3 else {
            throw ProcessingError.goldens("has no picture \(name)")
        }
        return try RGBImage(height: stored.shape[0], width: stored.shape[1], pixels: stored.bytes)
    }

    /// A picture by arithmetic alone, the same in every language; `noise` or `ramp`.
    ///
    /// All arithmetic is on unsigned 32-bit integers, which wrap round.
    public static func draw(_ pattern: String, height: Int, width: Int, seed: UInt32) throws -> RGBImage {
        guard pattern == "noise" || pattern == "ramp" else {
            throw ProcessingError.goldens("has the unknown pattern \(pattern); known: noise, ramp")
        }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(height * width * 3)
        for y in 0..<UInt32(height) {
            for x in 0..<UInt32(width) {
                for channel in 0..<UInt32(3) {
                    pixels.append(pattern == "noise" ? noise(y, x, channel, seed) : ramp(y, x, channel, seed))
                }
            }
        }
        return try RGBImage(height: height, width: width, pixels: pixels)
    }

    private static func noise(_ y: UInt32, _ x: UInt32, _ c: UInt32, _ seed: UInt32) -> UInt8 {
        var v: UInt32 = y &* 0x9E37_79B1
        v = v &+ x &* 0x85EB_CA77
        v = v &+ c &* 0xC2B2_AE3D
        v = v &+ seed &* 0x27D4_EB2F
        v ^= v >> 15
        v = v &* 0x2C1B_3C6D
        v ^= v >> 12
        return UInt8(v >> 24)
    }

    private static func ramp(_ y: UInt32, _ x: UInt32, _ c: UInt32, _ seed: UInt32) -> UInt8 {
        var t: UInt32 = 3 &* y
        t = t &+ 2 &* x
        t = t &+ 85 &* c
        t = (t &+ 37 &* seed) & 511
        return UInt8(t < 256 ? t : 511 - t)
    }
}

/// One array of the file.
struct StoredArray: Sendable {
    private static let widths = ["U8": 1, "I32": 4, "I64": 8, "F16": 2, "F32": 4, "F64": 8]

    let dtype: String
    let shape: [Int]
    let bytes: [UInt8]

    init(_ entry: JSON, _ data: [UInt8], base: Int) throws {
        guard let name = entry["dtype"]?.asText, let width = StoredArray.widths[name],
            let sides = entry["shape"]?.asArray, let places = entry["data_offsets"]?.asArray, places.count == 2,
            let start = places[0].asInteger, let end = places[1].asInteger
        else {
            throw ProcessingError.goldens("has an array that cannot be read")
        }
        guard start >= 0, start <= end, end <= data.count - base else {
            throw ProcessingError.goldens("has an array that lies outside the file")
        }
        let known = sides.compactMap { $0.asInteger }.filter { $0 >= 0 }
        guard known.count == sides.count, product(known, times: width) == end - start else {
            throw ProcessingError.goldens("has an array that has not the size of its shape")
        }
        dtype = name
        shape = known
        bytes = Array(data[(base + start)..<(base + end)])
    }

    /// All numbers as float32.
    func floats() -> [Float] {
        let width = StoredArray.widths[dtype] ?? 1
        return stride(from: 0, to: bytes.count, by: width).map { place in
            let bits = littleEndian(bytes, at: place, bytes: width)
            switch dtype {
            case "F32":
                return Float(bitPattern: UInt32(bits))
            case "F64":
                return Float(Double(bitPattern: bits))
            case "F16":
                return FloatArray.half(UInt16(bits))
            case "I32":
                return Float(Int32(truncatingIfNeeded: bits))
            case "I64":
                return Float(Int64(bitPattern: bits))
            default:
                return Float(bits)
            }
        }
    }

    func output() -> FloatArray {
        return FloatArray(shape: shape, values: floats())
    }
}

/// The bytes as one number, the lowest byte first.
func littleEndian(_ data: [UInt8], at start: Int, bytes: Int) -> UInt64 {
    var number: UInt64 = 0
    for index in 0..<bytes {
        number |= UInt64(data[start + index]) << UInt64(8 * index)
    }
    return number
}

/// The product of all, nil where it is too large for an Int.
func product(_ factors: [Int], times last: Int) -> Int? {
    var total = last
    for factor in factors {
        let (value, overflow) = total.multipliedReportingOverflow(by: factor)
        if overflow {
            return nil
        }
        total = value
    }
    return total
}
