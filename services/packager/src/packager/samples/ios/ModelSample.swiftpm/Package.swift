// swift-tools-version:5.9
import AppleProductTypes
import PackageDescription

let package = Package(
    name: "ModelSample",
    platforms: [.iOS("16.0")],
    products: [
        .iOSApplication(
            name: "ModelSample",
            targets: ["ModelSample"],
            bundleIdentifier: "org.example.ModelSample",
            displayVersion: "1.0",
            bundleVersion: "1",
            appIcon: .placeholder(icon: .camera),
            accentColor: .presetColor(.blue),
            supportedDeviceFamilies: [.pad, .phone],
            supportedInterfaceOrientations: [.portrait, .landscapeLeft, .landscapeRight],
            capabilities: [.camera(purposeString: "The model looks at the pictures that you take.")])
    ],
    dependencies: [.package(path: "../../../runtimes/swift")],
    targets: [
        .executableTarget(
            name: "ModelSample",
            dependencies: [.product(name: "ModelWrapper", package: "swift")],
            path: ".",
            sources: ["Sources"],
            resources: [.copy("Model")])
    ]
)
