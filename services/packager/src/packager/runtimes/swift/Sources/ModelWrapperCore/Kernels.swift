import Foundation

/// How a picture is resampled, exact to the bit.
public enum ResizeKernel: String, CaseIterable, Sendable {
    case cv2LinearU8 = "cv2_linear_u8"
    case pilNearest = "pil_nearest"
    case pilBilinear = "pil_bilinear"
    case pilBicubic = "pil_bicubic"
    case pilLanczos = "pil_lanczos"
}

/// Resampling in the integer arithmetic of OpenCV and Pillow.
///
/// Every operation is a single IEEE 754 operation or integer arithmetic: Swift does not contract a product and a sum into
/// one fused operation, which would round differently.
enum Kernels {
    /// The picture at that size, itself where nothing changes.
    static func resize(_ image: RGBImage, _ size: ImageSize, _ kernel: ResizeKernel) -> RGBImage {
        if image.size == size {
            return image
        }
        switch kernel {
        case .cv2LinearU8:
            return cv2LinearU8(image, size)
        case .pilNearest:
            return pilNearest(image, size)
        case .pilBilinear, .pilBicubic, .pilLanczos:
            return pilConvolution(image, size, kernel)
        }
    }

    /// OpenCV's INTER_LINEAR on uint8: 11-bit weights, two roundings, and a 2x2 mean at exactly half the size.
    static func cv2LinearU8(_ image: RGBImage, _ size: ImageSize) -> RGBImage {
        if image.height == 2 * size.height && image.width == 2 * size.width {
            return cv2Half(image, size)
        }
        let columns = cv2Taps(source: image.width, target: size.width, clampFraction: true)
        let rows = cv2Taps(source: image.height, target: size.height, clampFraction: false)
        let across = cv2Across(image, columns)
        let stride = size.width * 3
        var pixels = [UInt8](repeating: 0, count: size.area * 3)
        for y in 0..<size.height {
            let upper = rows.first[y] * stride
            let lower = rows.second[y] * stride
            for x in 0..<stride {
                let above = (rows.firstWeight[y] &* across[upper + x]) >> 16
                let below = (rows.secondWeight[y] &* across[lower + x]) >> 16
                pixels[y * stride + x] = clipped((above &+ below &+ 2) >> 2)
            }
        }
        return RGBImage(rows: size.height, columns: size.width, bytes: pixels)
    }

    private static func cv2Half(_ image: RGBImage, _ size: ImageSize) -> RGBImage {
        let stride = image.width * 3
        var pixels: [UInt8] = []
        pixels.reserveCapacity(size.area * 3)
        for y in 0..<size.height {
            for x in 0..<size.width {
                for channel in 0..<3 {
                    let corner = 2 * y * stride + 6 * x + channel
                    let upper = Int32(image.pixels[corner]) &+ Int32(image.pixels[corner + 3])
                    let lower = Int32(image.pixels[corner + stride]) &+ Int32(image.pixels[corner + stride + 3])
                    pixels.append(UInt8((upper &+ lower &+ 2) >> 2))
                }
            }
        }
        return RGBImage(rows: size.height, columns: size.width, bytes: pixels)
    }

    /// All rows of the picture, resampled along the width, times 2048 / 16.
    private static func cv2Across(_ image: RGBImage, _ columns: Cv2Taps) -> [Int32] {
        let width = columns.first.count
        var mixed = [Int32](repeating: 0, count: image.height * width * 3)
        for y in 0..<image.height {
            for x in 0..<width {
                let left = (y * image.width + columns.first[x]) * 3
                let right = (y * image.width + columns.second[x]) * 3
                for channel in 0..<3 {
                    let a = Int32(image.pixels[left + channel]) &* columns.firstWeight[x]
                    let b = Int32(image.pixels[right + channel]) &* columns.secondWeight[x]
                    mixed[(y * width + x) * 3 + channel] = (a &+ b) >> 4
                }
            }
        }
        return mixed
    }

    /// Both neighbours of each output index and their weights in 1/2048.
    private struct Cv2Taps {
        var first: [Int] = []
        var second: [Int] = []
        var firstWeight: [Int32] = []
        var secondWeight: [Int32] = []
    }

    /// The vertical axis keeps its fraction at borders.
    private static func cv2Taps(source: Int, target: Int, clampFraction: Bool) -> Cv2Taps {
        let scale = 1.0 / (Double(target) / Double(source))
        var taps = Cv2Taps()
        for index in 0..<target {
            let position = Float((Double(index) + 0.5) * scale - 0.5)
            var first = Int(position.rounded(.down))
            var fraction = position - Float(first)
            if clampFraction {
                if first < 0 || first >= source - 1 {
                    fraction = 0
                }
                first = min(max(first, 0), source - 1)
            }
            taps.first.append(min(max(first, 0), source - 1))
            taps.second.append(min(max(first + 1, 0), source - 1))
            taps.firstWeight.append(Int32(((1 - fraction) * 2048).rounded(.toNearestOrEven)))
            taps.secondWeight.append(Int32((fraction * 2048).rounded(.toNearestOrEven)))
        }
        return taps
    }

    /// Pillow's nearest neighbour.
    static func pilNearest(_ image: RGBImage, _ size: ImageSize) -> RGBImage {
        let rows = pilSteps(source: image.height, target: size.height)
        let columns = pilSteps(source: image.width, target: size.width)
        var pixels: [UInt8] = []
        pixels.reserveCapacity(size.area * 3)
        for row in rows {
            for column in columns {
                let start = (row * image.width + column) * 3
                pixels.append(image.pixels[start])
                pixels.append(image.pixels[start + 1])
                pixels.append(image.pixels[start + 2])
            }
        }
        return RGBImage(rows: size.height, columns: size.width, bytes: pixels)
    }

    /// Positions are summed up step by step, as Pillow does.
    private static func pilSteps(source: Int, target: Int) -> [Int] {
        let step = Double(source) / Double(target)
        var position = step * 0.5
        var places: [Int] = []
        for _ in 0..<target {
            places.append(min(Int(position), source - 1))
            position += step
        }
        return places
    }

    /// 0 to 255.
    static func clipped(_ value: Int32) -> UInt8 {
        return UInt8(truncatingIfNeeded: min(max(value, 0), 255))
    }
}
