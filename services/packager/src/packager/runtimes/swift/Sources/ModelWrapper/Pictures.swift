#if canImport(ImageIO)
import CoreGraphics
import CoreVideo
import Foundation
import ImageIO
import ModelWrapperCore

/// Pictures of the platform to RGB pixels.
///
/// Pixels are those of the file: nothing is converted between colour spaces, as the trainers do not do it either. A picture that is
/// partly transparent is drawn on black.
extension RGBImage {
    /// Sizes that are decoded, as in the other languages.
    static let maxPixels = 100_000_000
    static let maxBytes = 64 * 1024 * 1024

    /// A picture file; `isTurned` applies its EXIF orientation.
    ///
    /// Throws `image_too_large` before a pixel is decoded, `image_unreadable` for damaged and foreign files.
    public init(contentsOf url: URL, isTurned: Bool = true) throws {
        let data = try Data(contentsOf: url, options: .mappedIfSafe)
        if data.count > RGBImage.maxBytes {
            throw ProcessingError.tooLarge("the picture has \(data.count) bytes, allowed are \(RGBImage.maxBytes)")
        }
        guard let source = CGImageSourceCreateWithData(data as CFData, nil),
            let facts = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
            let width = (facts[kCGImagePropertyPixelWidth] as? NSNumber)?.intValue,
            let height = (facts[kCGImagePropertyPixelHeight] as? NSNumber)?.intValue
        else {
            throw ProcessingError.unreadable("\(url.lastPathComponent) is no picture that can be read")
        }
        if width * height > RGBImage.maxPixels {
            throw ProcessingError.tooLarge("the picture has \(width) x \(height) pixels, allowed are \(RGBImage.maxPixels)")
        }
        guard let image = CGImageSourceCreateImageAtIndex(source, 0, nil) else {
            throw ProcessingError.unreadable("\(url.lastPathComponent) is damaged")
        }
        let orientation = (facts[kCGImagePropertyOrientation] as? NSNumber)?.intValue ?? 1
        let upright = try RGBImage(cgImage: image)
        self = isTurned ? upright.turned(orientation) : upright
    }

    /// The pixels of a CGImage, which a UIImage gives as `cgImage`; its orientation is not applied.
    public init(cgImage: CGImage) throws {
        let height = cgImage.height
        let width = cgImage.width
        let isRGB = cgImage.colorSpace?.model == .rgb
        let space = isRGB ? cgImage.colorSpace : nil
        var bytes = [UInt8](repeating: 0, count: height * width * 4)
        let isDrawn = bytes.withUnsafeMutableBytes { buffer -> Bool in
            guard
                let context = CGContext(
                    data: buffer.baseAddress,
                    width: width,
                    height: height,
                    bitsPerComponent: 8,
                    bytesPerRow: width * 4,
                    space: space ?? CGColorSpaceCreateDeviceRGB(),
                    bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else {
                return false
            }
            context.interpolationQuality = .none
            context.draw(cgImage, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard isDrawn else {
            throw ProcessingError.unreadable("the picture's colour space cannot be drawn")
        }
        try self.init(height: height, width: width, pixels: RGBImage.withoutFourth(bytes, [0, 1, 2]))
    }

    /// A frame of a camera, 32-bit BGRA (`kCVPixelFormatType_32BGRA`).
    public init(pixelBuffer: CVPixelBuffer) throws {
        guard CVPixelBufferGetPixelFormatType(pixelBuffer) == kCVPixelFormatType_32BGRA else {
            throw ProcessingError.unreadable("needs a pixel buffer of kCVPixelFormatType_32BGRA")
        }
        CVPixelBufferLockBaseAddress(pixelBuffer, .readOnly)
        defer {
            CVPixelBufferUnlockBaseAddress(pixelBuffer, .readOnly)
        }
        guard let base = CVPixelBufferGetBaseAddress(pixelBuffer) else {
            throw ProcessingError.unreadable("the pixel buffer has no memory")
        }
        let height = CVPixelBufferGetHeight(pixelBuffer)
        let width = CVPixelBufferGetWidth(pixelBuffer)
        let stride = CVPixelBufferGetBytesPerRow(pixelBuffer)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(height * width * 4)
        for y in 0..<height {
            bytes.append(contentsOf: UnsafeRawBufferPointer(start: base + y * stride, count: width * 4))
        }
        try self.init(height: height, width: width, pixels: RGBImage.withoutFourth(bytes, [2, 1, 0]))
    }

    /// Three of four bytes a pixel, in that order.
    private static func withoutFourth(_ bytes: [UInt8], _ order: [Int]) -> [UInt8] {
        var pixels: [UInt8] = []
        pixels.reserveCapacity(bytes.count / 4 * 3)
        for start in stride(from: 0, to: bytes.count, by: 4) {
            for channel in order {
                pixels.append(bytes[start + channel])
            }
        }
        return pixels
    }
}
#endif
