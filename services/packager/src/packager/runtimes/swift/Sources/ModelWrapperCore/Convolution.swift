import Foundation

/// Pillow's antialiased resampling.
extension Kernels {
    private static let pilBits: Int32 = 22

    /// Two passes, uint8 in between, 22-bit integer weights.
    ///
    /// Horizontal first; vertical first where the height shrinks by more than twice what the width does.
    static func pilConvolution(_ image: RGBImage, _ size: ImageSize, _ kernel: ResizeKernel) -> RGBImage {
        let shrinks = image.height - size.height
        if shrinks > 0 && shrinks > 2 * (image.width - size.width) {
            return pilAcross(pilDown(image, size.height, kernel), size.width, kernel)
        }
        return pilDown(pilAcross(image, size.width, kernel), size.height, kernel)
    }

    private static func pilAcross(_ image: RGBImage, _ target: Int, _ kernel: ResizeKernel) -> RGBImage {
        if image.width == target {
            return image
        }
        let windows = pilTaps(source: image.width, target: target, kernel: kernel)
        var pixels: [UInt8] = []
        pixels.reserveCapacity(image.height * target * 3)
        for y in 0..<image.height {
            for window in windows {
                let start = (y * image.width + window.start) * 3
                for channel in 0..<3 {
                    var total: Int32 = 1 << (pilBits - 1)
                    for (tap, weight) in window.weights.enumerated() {
                        total = total &+ Int32(image.pixels[start + tap * 3 + channel]) &* weight
                    }
                    pixels.append(clipped(total >> pilBits))
                }
            }
        }
        return RGBImage(rows: image.height, columns: target, bytes: pixels)
    }

    private static func pilDown(_ image: RGBImage, _ target: Int, _ kernel: ResizeKernel) -> RGBImage {
        if image.height == target {
            return image
        }
        let stride = image.width * 3
        var pixels: [UInt8] = []
        pixels.reserveCapacity(target * stride)
        for window in pilTaps(source: image.height, target: target, kernel: kernel) {
            var totals = [Int32](repeating: 1 << (pilBits - 1), count: stride)
            for (tap, weight) in window.weights.enumerated() {
                let start = (window.start + tap) * stride
                for x in 0..<stride {
                    totals[x] = totals[x] &+ Int32(image.pixels[start + x]) &* weight
                }
            }
            for total in totals {
                pixels.append(clipped(total >> pilBits))
            }
        }
        return RGBImage(rows: target, columns: image.width, bytes: pixels)
    }

    /// First input index of an output index, and the integer weights from there on.
    private struct PilWindow {
        let start: Int
        let weights: [Int32]
    }

    private static func pilTaps(source: Int, target: Int, kernel: ResizeKernel) -> [PilWindow] {
        let scale = Double(source) / Double(target)
        let filterScale = max(scale, 1.0)
        let support = radius(kernel) * filterScale
        var windows: [PilWindow] = []
        for index in 0..<target {
            let centre = (Double(index) + 0.5) * scale
            let start = max(Int(centre - support + 0.5), 0)
            let end = min(Int(centre + support + 0.5), source)
            var weights: [Double] = []
            var sum = 0.0
            for tap in start..<end {
                let x = (Double(tap) - centre + 0.5) * (1.0 / filterScale)
                let weight = filter(kernel, x)
                weights.append(weight)
                sum += weight
            }
            windows.append(PilWindow(start: start, weights: weights.map { fixedPoint($0 / sum) }))
        }
        return windows
    }

    /// Half away from zero.
    private static func fixedPoint(_ weight: Double) -> Int32 {
        let fixed = weight * 4_194_304.0
        return Int32(fixed < 0 ? fixed - 0.5 : fixed + 0.5)
    }

    private static func radius(_ kernel: ResizeKernel) -> Double {
        switch kernel {
        case .pilBicubic:
            return 2.0
        case .pilLanczos:
            return 3.0
        case .pilBilinear, .pilNearest, .cv2LinearU8:
            return 1.0
        }
    }

    private static func filter(_ kernel: ResizeKernel, _ x: Double) -> Double {
        switch kernel {
        case .pilBicubic:
            return cubic(x)
        case .pilLanczos:
            return lanczos(x)
        case .pilBilinear, .pilNearest, .cv2LinearU8:
            return triangle(x)
        }
    }

    private static func triangle(_ x: Double) -> Double {
        return max(1.0 - abs(x), 0.0)
    }

    private static func cubic(_ value: Double) -> Double {
        let a = -0.5
        let x = abs(value)
        if x < 1.0 {
            return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
        }
        if x < 2.0 {
            return (((x - 5.0) * x + 8.0) * x - 4.0) * a
        }
        return 0.0
    }

    private static func lanczos(_ x: Double) -> Double {
        return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0
    }

    private static func sinc(_ x: Double) -> Double {
        if x == 0.0 {
            return 1.0
        }
        let y = Double.pi * x
        return sin(y) / y
    }
}
