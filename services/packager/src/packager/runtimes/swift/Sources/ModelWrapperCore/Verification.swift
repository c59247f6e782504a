import Foundation

/// One comparison and what it found; `subject` is the part of the package that answers for it.
public struct Check: Sendable {
    public let subject: String
    public let name: String
    public let passed: Bool
    public let detail: String

    public init(subject: String, name: String, passed: Bool, detail: String) {
        self.subject = subject
        self.name = name
        self.passed = passed
        self.detail = detail
    }
}

/// A loaded model that can be held to golden vectors.
public protocol Predictor {
    /// The model alone: its input tensor of batch 1 to its outputs by name.
    func run(_ tensor: Tensor) throws -> [String: FloatArray]

    /// The predictions of a picture.
    func predict(_ image: RGBImage, _ options: PredictionOptions) throws -> [Prediction]
}

/// Repeats the golden vectors of an unpacked package.
///
/// Five questions: are the files those of metadata.json, does a picture become the same tensor, do outputs become the same
/// predictions, does the model give the same outputs, and does all of it together give the same predictions of a picture.
public struct Verification: Sendable {
    public let folder: URL
    public let metadata: JSON
    public let pipeline: Pipeline
    let goldens: Goldens

    /// Throws where metadata.json or the golden vectors cannot be read.
    public init(folder: URL) throws {
        self.folder = folder
        metadata = try Files.metadata(folder.appendingPathComponent("metadata.json"))
        pipeline = try Pipeline(metadata: metadata)
        goldens = try Goldens([UInt8](Data(contentsOf: folder.appendingPathComponent("golden_vectors.safetensors"))))
    }

    /// All that can be checked without the model, in order.
    public func checksWithoutModel() -> [Check] {
        return fileChecks() + preprocessChecks() + postprocessChecks()
    }

    /// Every file that metadata.json lists, against its SHA-256.
    public func fileChecks() -> [Check] {
        return list(metadata, "files").map { entry in
            let path = entry["path"]?.asText ?? ""
            guard let data = try? Data(contentsOf: folder.appendingPathComponent(path), options: .mappedIfSafe) else {
                return Check(subject: "files", name: path, passed: false, detail: "missing")
            }
            let isSame = Sha256.hex(data) == entry["sha256"]?.asText
            let detail = isSame ? "as listed" : "differs from metadata.json"
            return Check(subject: "files", name: path, passed: isSame, detail: detail)
        }
    }

    /// Drawn pictures and their tensors, to the bit.
    public func preprocessChecks() -> [Check] {
        return list(goldens.vectors, "preprocess").map { vector in
            attempted("preprocess", vector) {
                let (tensor, _) = try pipeline.preprocess(drawn(vector))
                return Fingerprint.compare(tensor, vector["tensor"] ?? JSON.null)
            }
        }
    }

    /// Stored outputs and their predictions.
    public func postprocessChecks() -> [Check] {
        return list(goldens.vectors, "postprocess").map { vector in
            attempted("postprocess", vector) {
                var outputs: [String: FloatArray] = [:]
                for member in vector["outputs"]?.asMembers ?? [] {
                    outputs[member.key] = try goldens.array(member.value.asText ?? "").output()
                }
                let sides = list(vector, "source").compactMap { $0.asInteger }
                guard sides.count == 2 else {
                    throw ProcessingError.goldens("has a vector without a source")
                }
                let geometry = try pipeline.locate(ImageSize(height: sides[0], width: sides[1]))
                let found = try pipeline.postprocess(outputs, geometry, options(vector))
                return compared("decoded", found, vector)
            }
        }
    }

    /// Stored pictures, stage by stage.
    public func modelChecks(_ model: any Predictor) -> [Check] {
        return list(goldens.vectors, "model").flatMap { vector in
            [
                attempted("preprocess", vector) {
                    let (tensor, _) = try pipeline.preprocess(picture(vector))
                    return Fingerprint.compare(tensor, vector["tensor"] ?? JSON.null)
                },
                attempted("model", vector) {
                    let (tensor, _) = try pipeline.preprocess(picture(vector))
                    return try sameOutputs(model.run(tensor), vector)
                },
                attempted("predictions", vector) {
                    let asked = vector["options"]?["confidence_threshold"]?.asNumber
                    let found = try model.predict(picture(vector), PredictionOptions(confidenceThreshold: asked))
                    return compared("predicted", found, vector)
                },
            ]
        }
    }

    /// The check, failed where asking raised.
    private func attempted(_ subject: String, _ vector: JSON, _ ask: () throws -> Verdict) -> Check {
        let name = vector["name"]?.asText ?? ""
        do {
            let verdict = try ask()
            return Check(subject: subject, name: name, passed: verdict.passed, detail: verdict.detail)
        } catch {
            return Check(subject: subject, name: name, passed: false, detail: "\(error)")
        }
    }

    private func picture(_ vector: JSON) throws -> RGBImage {
        return try goldens.picture(vector["picture"]?.asText ?? "")
    }

    private func drawn(_ vector: JSON) throws -> RGBImage {
        guard let pattern = vector["pattern"]?.asText, let height = vector["height"]?.asInteger,
            let width = vector["width"]?.asInteger, let number = vector["seed"]?.asInteger,
            let seed = UInt32(exactly: number), height > 0, width > 0
        else {
            throw ProcessingError.goldens("has a vector without a picture")
        }
        return try Goldens.draw(pattern, height: height, width: width, seed: seed)
    }

    private func options(_ vector: JSON) -> PredictionOptions {
        let asked = vector["options"]
        return PredictionOptions(
            confidenceThreshold: asked?["confidence_threshold"]?.asNumber,
            iouThreshold: asked?["iou_threshold"]?.asNumber,
            maxDetections: asked?["max_detections"]?.asInteger,
            topK: asked?["top_k"]?.asInteger)
    }

    /// Predictions against those of a vector, within the tolerances of this name.
    private func compared(_ name: String, _ found: [Prediction], _ vector: JSON) -> Verdict {
        let tolerances = goldens.vectors["tolerances"]?[name]
        let asked = vector["options"]?["confidence_threshold"]?.asNumber
        let isObject = pipeline.post.decoder.kind == .objects
        return Compare.predictions(
            found,
            list(vector, "predictions").map { Prediction(golden: $0) },
            threshold: asked ?? (isObject ? pipeline.post.confidence : nil),
            allowed: Tolerance(
                confidence: tolerances?["confidence"]?.asNumber ?? 0.0,
                pixels: tolerances?["pixels"]?.asNumber ?? 0.0,
                mask: tolerances?["mask"]?.asNumber ?? 0.0),
            boxes: goldens.vectors["boxes"]?.asBool ?? true)
    }

    /// The model's outputs against the stored values; rows of a set in any order.
    private func sameOutputs(_ outputs: [String: FloatArray], _ vector: JSON) throws -> Verdict {
        let rows = list(vector, "rows").compactMap { $0.asText }
        let allowed = goldens.vectors["tolerances"]?["output"]?.asNumber ?? 0.0
        var worst = 0.0
        var got: [FloatArray] = []
        var stored: [FloatArray] = []
        for member in vector["outputs"]?.asMembers ?? [] {
            guard let output = outputs[member.key] else {
                return Verdict(passed: false, detail: "the model gave no \(member.key)")
            }
            let shape = list(member.value, "shape").compactMap { $0.asInteger }
            if output.shape != shape {
                return Verdict(passed: false, detail: "\(member.key) has the shape \(output.shape), expected \(shape)")
            }
            if !output.values.allSatisfy({ $0.isFinite }) {
                return Verdict(passed: false, detail: "\(member.key) holds values that are not finite")
            }
            let expected = try goldens.array(member.value["array"]?.asText ?? "").floats()
            if rows.contains(member.key) && expected.count == output.values.count {
                got.append(output)
                stored.append(FloatArray(shape: shape, values: expected))
            } else {
                let step = max(member.value["stride"]?.asInteger ?? 1, 1)
                let some = stride(from: 0, to: output.values.count, by: step).map { output.values[$0] }
                worst = max(worst, Compare.relativeDifference(some, expected))
            }
        }
        worst = max(worst, Compare.setDifference(got, stored))
        let detail = String(format: "%.1e apart, %g is allowed", worst, allowed)
        return Verdict(passed: worst <= allowed, detail: detail)
    }
}

/// The elements of a member that is an array, none where it is not.
private func list(_ value: JSON, _ name: String) -> [JSON] {
    return value[name]?.asArray ?? []
}
