/// How a picture of any size becomes the model's input size.
public enum ResizeMethod: String, CaseIterable, Sendable {
    /// Keep the aspect ratio, pad the rest.
    case letterbox
    /// Both sides to the input size.
    case stretch
    /// Short side to `resizeTo`, then the centre is cut out.
    case shortSideCrop = "short_side_crop"
    /// Both sides to `resizeTo`, then the centre is cut out.
    case stretchCrop = "stretch_crop"
}

/// Where half a pixel goes when the centre is cut out: rounded to even as torchvision does, or cut off as Hugging Face does.
public enum CropOffset: String, CaseIterable, Sendable {
    case round
    case truncate
}

/// `preprocessing.resize` of metadata.json.
public struct Resize: Equatable, Sendable {
    public let method: ResizeMethod
    public let size: ImageSize
    public let kernel: ResizeKernel
    public let resizeTo: ImageSize?
    public let fillValue: UInt8
    public let scaleUp: Bool
    public let center: Bool
    public let cropOffset: CropOffset
}

/// Where a picture lies in the model's input: `input = source * gain + offset`, per axis.
public struct Geometry: Equatable, Sendable {
    /// The picture's size.
    public let source: ImageSize
    public let gainY: Double
    public let gainX: Double
    public let top: Int
    public let left: Int

    /// Boxes x1 y1 x2 y2 from input pixels to source pixels, clamped to the picture.
    func toSource(_ box: [Float]) -> [Float] {
        return [
            clamped((box[0] - Float(left)) / Float(gainX), Float(source.width)),
            clamped((box[1] - Float(top)) / Float(gainY), Float(source.height)),
            clamped((box[2] - Float(left)) / Float(gainX), Float(source.width)),
            clamped((box[3] - Float(top)) / Float(gainY), Float(source.height)),
        ]
    }

    /// A keypoint from input pixels to source pixels, clamped to the picture.
    func pointToSource(_ point: Keypoint) -> Keypoint {
        let x = clamped((Float(point.x) - Float(left)) / Float(gainX), Float(source.width))
        let y = clamped((Float(point.y) - Float(top)) / Float(gainY), Float(source.height))
        return Keypoint(x: Double(x), y: Double(y), confidence: point.confidence)
    }

    /// A rotated box cx cy w h angle from input pixels to source pixels; not clamped, as it could not keep its shape.
    func rotatedToSource(_ box: [Float]) -> [Float] {
        return [
            (box[0] - Float(left)) / Float(gainX),
            (box[1] - Float(top)) / Float(gainY),
            box[2] / Float(gainX),
            box[3] / Float(gainY),
            box[4],
        ]
    }

    private func clamped(_ value: Float, _ limit: Float) -> Float {
        return lesser(greater(value, 0), limit)
    }
}

/// The resized picture's size, and where its top left corner lies in the input; negative cuts.
struct Placement {
    let resized: ImageSize
    let top: Int
    let left: Int
    let fill: UInt8
}

/// Resize, then cut or pad.
enum Placing {
    /// Of the resized picture before the cut: a strip one pixel high would otherwise become gigabytes.
    static let maxResizedPixels = 1 << 25
    /// What torchvision's CenterCrop pads with where the picture is smaller than the cut.
    static let cropFill: UInt8 = 0

    /// Where a picture of that size lies in the input, and the way back.
    ///
    /// Throws `image_too_large` for a picture so long and thin that its resized form would be giant.
    static func locate(_ source: ImageSize, _ spec: Resize) throws -> (Placement, Geometry) {
        let placement = placementOf(spec, source)
        if placement.resized.area > maxResizedPixels {
            throw ProcessingError.tooLarge(
                "the picture of \(source.width) x \(source.height) pixels is too long and thin")
        }
        let geometry = Geometry(
            source: source,
            gainY: Double(placement.resized.height) / Double(source.height),
            gainX: Double(placement.resized.width) / Double(source.width),
            top: placement.top,
            left: placement.left)
        return (placement, geometry)
    }

    /// The picture at the model's input size, and its geometry; throws as `locate` does.
    static func fit(_ image: RGBImage, _ spec: Resize) throws -> (RGBImage, Geometry) {
        let (placement, geometry) = try locate(image.size, spec)
        let resized = Kernels.resize(image, placement.resized, spec.kernel)
        return (place(resized, spec.size, placement), geometry)
    }

    private static func placementOf(_ spec: Resize, _ source: ImageSize) -> Placement {
        switch spec.method {
        case .letterbox:
            return letterbox(spec, source)
        case .stretch:
            return stretch(spec, source)
        case .shortSideCrop:
            return shortSideCrop(spec, source)
        case .stretchCrop:
            return stretchCrop(spec, source)
        }
    }

    /// Keep the aspect ratio, pad the rest; the rounding is that of Ultralytics.
    static func letterbox(_ spec: Resize, _ source: ImageSize) -> Placement {
        var ratio = min(
            Double(spec.size.height) / Double(source.height), Double(spec.size.width) / Double(source.width))
        if !spec.scaleUp {
            ratio = min(ratio, 1.0)
        }
        let height = max(rounded(Double(source.height) * ratio), 1)
        let width = max(rounded(Double(source.width) * ratio), 1)
        return Placement(
            resized: ImageSize(height: height, width: width),
            top: spec.center ? rounded(Double(spec.size.height - height) / 2.0 - 0.1) : 0,
            left: spec.center ? rounded(Double(spec.size.width - width) / 2.0 - 0.1) : 0,
            fill: spec.fillValue)
    }

    /// Both sides to the input size.
    static func stretch(_ spec: Resize, _ source: ImageSize) -> Placement {
        return Placement(resized: spec.size, top: 0, left: 0, fill: cropFill)
    }

    /// Short side to `resizeTo`, the long side truncated, then the centre; as torchvision's Resize(int) and CenterCrop.
    static func shortSideCrop(_ spec: Resize, _ source: ImageSize) -> Placement {
        let target = (spec.resizeTo ?? spec.size).height
        if source.height <= source.width {
            let width = Int(Double(target * source.width) / Double(source.height))
            return centreCut(spec, ImageSize(height: target, width: width))
        }
        let height = Int(Double(target * source.height) / Double(source.width))
        return centreCut(spec, ImageSize(height: height, width: target))
    }

    /// Both sides to `resizeTo`, then the centre.
    static func stretchCrop(_ spec: Resize, _ source: ImageSize) -> Placement {
        return centreCut(spec, spec.resizeTo ?? spec.size)
    }

    private static func centreCut(_ spec: Resize, _ resized: ImageSize) -> Placement {
        return Placement(
            resized: resized,
            top: cutOffset(want: spec.size.height, have: resized.height, spec.cropOffset),
            left: cutOffset(want: spec.size.width, have: resized.width, spec.cropOffset),
            fill: cropFill)
    }

    private static func cutOffset(want: Int, have: Int, _ offset: CropOffset) -> Int {
        if want > have {
            return (want - have) / 2
        }
        let half = Double(have - want) / 2.0
        return -(offset == .round ? rounded(half) : Int(half))
    }

    /// To the nearest integer, half to even.
    static func rounded(_ value: Double) -> Int {
        return Int(value.rounded(.toNearestOrEven))
    }

    private static func place(_ image: RGBImage, _ size: ImageSize, _ placement: Placement) -> RGBImage {
        if placement.top == 0 && placement.left == 0 && image.size == size {
            return image
        }
        let firstRow = max(-placement.top, 0)
        let firstColumn = max(-placement.left, 0)
        let lastRow = min(size.height - placement.top, image.height)
        let lastColumn = min(size.width - placement.left, image.width)
        let top = max(placement.top, 0)
        let left = max(placement.left, 0)
        var pixels = [UInt8](repeating: placement.fill, count: size.area * 3)
        let length = max(lastColumn - firstColumn, 0) * 3
        for row in firstRow..<max(lastRow, firstRow) {
            let from = (row * image.width + firstColumn) * 3
            let to = ((top + row - firstRow) * size.width + left) * 3
            pixels.replaceSubrange(to..<(to + length), with: image.pixels[from..<(from + length)])
        }
        return RGBImage(rows: size.height, columns: size.width, bytes: pixels)
    }
}
