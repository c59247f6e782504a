// swift-tools-version:5.9
import PackageDescription

/// Whether the package's model is an ONNX one, which Microsoft's package runs; Core ML models need no other package.
let usesOnnxRuntime = true

var packages: [Package.Dependency] = []
var runtimes: [Target.Dependency] = []
#if canImport(Darwin)
if usesOnnxRuntime {
    packages.append(
        .package(url: "https://github.com/microsoft/onnxruntime-swift-package-manager", exact: "1.24.2"))
    runtimes.append(.product(name: "onnxruntime", package: "onnxruntime-swift-package-manager"))
}
#endif

let package = Package(
    name: "ModelWrapper",
    platforms: [.iOS(.v16), .macOS(.v14)],
    products: [
        .library(name: "ModelWrapper", targets: ["ModelWrapper"]),
        .library(name: "ModelWrapperCore", targets: ["ModelWrapperCore"]),
    ],
    dependencies: packages,
    targets: [
        .target(name: "ModelWrapperCore"),
        .target(
            name: "ModelWrapper",
            dependencies: ["ModelWrapperCore"] + runtimes,
            path: ".",
            exclude: ["Sources/ModelWrapperCore", "Sources/example", "Sources/verify", "Tests"],
            sources: ["ModelWrapper.swift", "Sources/ModelWrapper"]),
        .executableTarget(name: "verify", dependencies: ["ModelWrapper"]),
        .executableTarget(name: "example", dependencies: ["ModelWrapper"]),
        .testTarget(name: "ModelWrapperCoreTests", dependencies: ["ModelWrapper"]),
    ]
)
