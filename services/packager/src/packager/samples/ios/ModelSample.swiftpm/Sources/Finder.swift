import CoreGraphics
import Foundation
import ModelWrapper

/// The model, loaded at the first picture and away from the main thread.
actor Finder {
    private var loaded: ModelWrapper?

    /// What the model finds in an upright picture; `bbox` and the like are in its pixels.
    func find(_ image: CGImage) throws -> [Prediction] {
        return try model().predict(RGBImage(cgImage: image))
    }

    private func model() throws -> ModelWrapper {
        if let model = loaded {
            return model
        }
        let model = try ModelWrapper(metadata: Finder.metadata())
        loaded = model
        return model
    }

    /// The file that `prepare.sh` put into the app: in the app itself, or in a bundle of the target's within it.
    private static func metadata() throws -> URL {
        let inside = Bundle.main.urls(forResourcesWithExtension: "bundle", subdirectory: nil) ?? []
        for bundle in [Bundle.main] + inside.compactMap({ Bundle(url: $0) }) {
            if let found = bundle.url(forResource: "metadata", withExtension: "json", subdirectory: "Model") {
                return found
            }
        }
        throw CocoaError(.fileNoSuchFile, userInfo: [NSFilePathErrorKey: "Model/metadata.json"])
    }
}
