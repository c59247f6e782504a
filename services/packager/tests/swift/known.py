"""Names of Swift's library and of Apple's frameworks that the sources use; any other is a misspelling."""

TYPES = frozenset(
    [
        "Int", "Double", "Float", "Float32", "UInt8", "UInt16", "UInt32", "UInt64", "Int32", "Int64", "Bool", "String", "Array", "Set",
        "Data", "URL", "Error", "UTF8", "UTF16", "NSLock", "FileManager", "CocoaError", "ProcessInfo", "CommandLine", "XCTestCase",
        "XCTSkip", "NSNumber", "NSMutableData", "NSString", "Any", "UInt", "ORTEnv", "ORTSession", "ORTValue", "ORTSessionOptions",
        "ORTLoggingLevel", "ORTTensorElementDataType", "MLModel", "MLModelConfiguration", "MLComputeUnits", "MLMultiArray",
        "MLFeatureValue", "MLDictionaryFeatureProvider", "CVPixelBuffer", "CGImage", "CGContext", "CGRect", "CGSize", "CGPoint", "CGFloat",
        "CGImageAlphaInfo", "CFData", "CFString", "UnsafeRawBufferPointer", "Bundle", "UIImage", "UIColor", "UIFont", "UIView",
        "UIViewController", "UINavigationController", "UIImageView", "UILabel", "UIStackView", "UIBarButtonItem", "UIImagePickerController",
        "UIGraphicsImageRenderer", "UIGraphicsImageRendererFormat", "NSLayoutConstraint", "NSAttributedString", "WindowGroup", "Task",
        "Package", "Target", "Swift"
    ]
)  # fmt: skip
FUNCTIONS = frozenset(
    [
        "min", "max", "abs", "exp", "log", "sin", "cos", "zip", "stride", "print", "exit", "precondition", "XCTAssertTrue",
        "XCTAssertFalse", "CVPixelBufferCreate", "CVPixelBufferLockBaseAddress", "CVPixelBufferUnlockBaseAddress",
        "CVPixelBufferGetBaseAddress", "CVPixelBufferGetBytesPerRow", "CVPixelBufferGetPixelFormatType", "CVPixelBufferGetHeight",
        "CVPixelBufferGetWidth", "kCFAllocatorDefault", "kCVPixelFormatType_32BGRA", "CGImageSourceCreateWithData",
        "CGImageSourceCopyPropertiesAtIndex", "CGImageSourceCreateImageAtIndex", "CGColorSpaceCreateDeviceRGB",
        "kCGImagePropertyPixelWidth", "kCGImagePropertyPixelHeight", "kCGImagePropertyOrientation", "NSFilePathErrorKey", "#filePath",
        "#line", "#selector", "super"
    ]
)  # fmt: skip
MEMBERS = frozenset(
    [
        "count", "isEmpty", "first", "last", "indices", "keys", "values", "utf8", "offset", "element", "min", "max", "map", "compactMap",
        "flatMap", "filter", "reduce", "contains", "append", "reserveCapacity", "replaceSubrange", "remove", "enumerated", "sorted",
        "prefix", "suffix", "dropFirst", "dropLast", "joined", "allSatisfy", "forEach", "firstIndex", "mapValues", "lowerBound",
        "upperBound", "startIndex", "isNaN", "isFinite", "infinity", "nan", "pi", "bitPattern", "squareRoot", "rounded", "toNearestOrEven",
        "up", "down", "plus", "minus", "self", "rawValue", "allCases", "isLeadSurrogate", "multipliedReportingOverflow", "mappedIfSafe",
        "hasPrefix", "appendingPathComponent", "deletingLastPathComponent", "lastPathComponent", "pathExtension", "path", "default",
        "fileExists", "fileReadNoSuchFile", "environment", "processInfo", "arguments", "localizedDescription",
        "intValue", "lock", "unlock", "warning", "run", "uInt8", "float", "int32", "int64", "double", "float32", "float16", "shape",
        "strides", "dataType", "dataPointer", "elementType", "tensorTypeAndShapeInfo", "tensorData", "withUnsafeBytes",
        "withUnsafeMutableBytes", "bindMemory", "assumingMemoryBound", "baseAddress", "all", "cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine",
        "computeUnits", "compileModel", "prediction", "featureValue", "multiArrayValue", "featureNames", "modelDescription",
        "inputDescriptionsByName", "type", "image", "readOnly", "noneSkipLast", "colorSpace", "model", "rgb", "interpolationQuality",
        "none", "draw", "zero", "size", "width", "height", "x", "y", "scale", "cgImage", "cgContext", "setStroke", "setFill",
        "withAlphaComponent", "setLineWidth", "fill", "fillEllipse", "stroke", "saveGState", "restoreGState", "translateBy", "rotate",
        "boldSystemFont", "white", "font", "foregroundColor", "backgroundColor", "systemRed", "systemGreen", "systemBlue", "systemOrange",
        "systemPurple", "systemTeal", "systemBackground", "contentMode", "scaleAspectFit", "numberOfLines", "text", "axis", "vertical",
        "spacing", "translatesAutoresizingMaskIntoConstraints", "setContentCompressionResistancePriority", "setContentHuggingPriority",
        "required", "defaultLow", "addSubview", "safeAreaLayoutGuide", "activate", "constraint", "topAnchor", "bottomAnchor",
        "leadingAnchor", "trailingAnchor", "leftBarButtonItem", "rightBarButtonItem", "organize", "camera", "isEnabled",
        "isSourceTypeAvailable", "photoLibrary", "sourceType", "delegate", "dismiss", "originalImage", "viewDidLoad", "ignoresSafeArea",
        "container", "bottom", "Key", "SourceType", "InfoKey", "version", "main", "url", "urls", "fileNoSuchFile"
    ]
)  # fmt: skip
INHERITED = frozenset(["title", "view", "navigationItem", "present"])
"""Of UIViewController."""
