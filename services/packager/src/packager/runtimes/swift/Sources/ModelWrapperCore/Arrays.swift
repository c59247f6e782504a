/// Height and width in pixels.
public struct ImageSize: Equatable, Sendable {
    public let height: Int
    public let width: Int

    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }

    var area: Int {
        return height * width
    }
}

/// A picture: RGB, 8 bits a channel, row by row from the top left.
public struct RGBImage: Equatable, Sendable {
    public let height: Int
    public let width: Int
    /// `height * width * 3` bytes.
    public let pixels: [UInt8]

    /// Throws `image_unreadable` where the bytes are not as many as the sides say, or a side is zero.
    public init(height: Int, width: Int, pixels: [UInt8]) throws {
        guard height > 0, width > 0, pixels.count == height * width * 3 else {
            throw ProcessingError.unreadable(
                "needs RGB bytes [H, W, 3], got \(pixels.count) bytes for \(width) x \(height) pixels")
        }
        self.init(rows: height, columns: width, bytes: pixels)
    }

    init(rows: Int, columns: Int, bytes: [UInt8]) {
        height = rows
        width = columns
        pixels = bytes
    }

    public var size: ImageSize {
        return ImageSize(height: height, width: width)
    }
}

/// The model's input: float32, or uint8 where the graph normalises.
public enum TensorValues: Equatable, Sendable {
    case float32([Float])
    case uint8([UInt8])
}

/// A model's input with its shape, in row-major order.
public struct Tensor: Equatable, Sendable {
    public let shape: [Int]
    public let values: TensorValues

    public init(shape: [Int], values: TensorValues) {
        self.shape = shape
        self.values = values
    }

    public var dtype: String {
        switch values {
        case .float32:
            return "float32"
        case .uint8:
            return "uint8"
        }
    }

    /// Little-endian bytes.
    public var bytes: [UInt8] {
        switch values {
        case .uint8(let pixels):
            return pixels
        case .float32(let numbers):
            var all: [UInt8] = []
            all.reserveCapacity(numbers.count * 4)
            for number in numbers {
                let bits = number.bitPattern
                all.append(UInt8(truncatingIfNeeded: bits))
                all.append(UInt8(truncatingIfNeeded: bits >> 8))
                all.append(UInt8(truncatingIfNeeded: bits >> 16))
                all.append(UInt8(truncatingIfNeeded: bits >> 24))
            }
            return all
        }
    }

    /// The same picture `count` times, for a model whose batch is fixed; a batch of 1 is needed.
    public func repeated(_ count: Int) -> Tensor {
        let longer: [Int] = [count] + Array(shape.dropFirst())
        switch values {
        case .uint8(let pixels):
            return Tensor(shape: longer, values: .uint8(Array([[UInt8]](repeating: pixels, count: count).joined())))
        case .float32(let numbers):
            return Tensor(shape: longer, values: .float32(Array([[Float]](repeating: numbers, count: count).joined())))
        }
    }
}

/// One output of a model: float32 in row-major order, whatever type the model gave.
public struct FloatArray: Equatable, Sendable {
    public let shape: [Int]
    public let values: [Float]

    /// `values` has as many numbers as `shape` says.
    public init(shape: [Int], values: [Float]) {
        precondition(values.count == shape.reduce(1, *), "the shape is not that of the values")
        self.shape = shape
        self.values = values
    }

    /// The first picture of a batch.
    public func first() -> FloatArray {
        guard let batch = shape.first, batch > 1 else {
            return self
        }
        return FloatArray(shape: [1] + Array(shape.dropFirst()), values: Array(values.prefix(values.count / batch)))
    }

    /// The value of a float16 (IEEE 754 binary16), which not every processor's Swift has a type for.
    public static func half(_ bits: UInt16) -> Float {
        let exponent = Int((bits >> 10) & 31)
        let fraction = Float(bits & 1023)
        let sign: Float = bits >> 15 == 0 ? 1 : -1
        if exponent == 0 {
            return sign * fraction * 0x1p-24
        }
        if exponent == 31 {
            return fraction == 0 ? sign * Float.infinity : Float.nan
        }
        return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction / 1024)
    }
}

/// Indices of the scores, the highest first; equal ones keep their order, those that are no number come last.
func descending(_ scores: [Float]) -> [Int] {
    return scores.indices.sorted { left, right in
        let a = scores[left]
        let b = scores[right]
        if a.isNaN || b.isNaN {
            return a.isNaN == b.isNaN ? left < right : b.isNaN
        }
        return a == b ? left < right : a > b
    }
}

/// The smaller one, NaN where either is.
func lesser(_ a: Float, _ b: Float) -> Float {
    return a.isNaN ? a : (b.isNaN ? b : (a < b ? a : b))
}

/// The greater one, NaN where either is.
func greater(_ a: Float, _ b: Float) -> Float {
    return a.isNaN ? a : (b.isNaN ? b : (a > b ? a : b))
}

/// A number cut to an integer; the smallest one for what is none, as numpy has it.
func truncated(_ value: Float) -> Int {
    return value.isFinite && abs(value) < 0x1p62 ? Int(value) : Int.min
}
