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
        let metadata = Bundle.module.bundleURL.appendingPathComponent("Resources/metadata.json")
        let model = try ModelWrapper(metadata: metadata)
        loaded = model
        return model
    }
}
