/// Runs this package's model: pictures in, predictions out, exactly as metadata.json says.
///
///     modelport::ModelWrapper model("path/to/package");
///     for (const modelport::Prediction& found : model.predict("picture.jpg"))
///         std::cout << found.class_name << ' ' << found.confidence << '\n';
///
/// All errors are modelport::Error (a std::runtime_error) or one of its kinds in processing/errors.h.
#pragma once

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "processing/arrays.h"
#include "processing/errors.h"
#include "processing/pipeline.h"
#include "processing/predictions.h"

namespace modelport {

class Backend;

/// A loaded model; its memory is freed when it is destroyed. All functions may be called from several threads at once
/// (LiteRT and TensorRT run one model one call at a time), except while it is moved from or destroyed.
class ModelWrapper {
public:
    /// Loads an unpacked package. Throws MetadataError for metadata that this code does not understand, BackendError for a
    /// model that the runtime cannot load, Error `not_found` for a missing file.
    explicit ModelWrapper(const std::filesystem::path& package = default_package());

    /// Loads a model and its metadata.json, wherever they lie.
    ModelWrapper(const std::filesystem::path& model, const std::filesystem::path& metadata);

    ModelWrapper(ModelWrapper&&) noexcept;
    ModelWrapper& operator=(ModelWrapper&&) noexcept;
    ~ModelWrapper();

    /// Predictions of RGB pixels, best first; lengths are pixels of the picture. Options not given are the metadata's.
    /// Throws OptionError for an impossible option.
    std::vector<Prediction> predict(const PictureView& image, const Options& options = {}) const;

    /// Predictions of a JPEG, PNG or BMP file; ImageError for one that cannot be read.
    std::vector<Prediction> predict(const std::filesystem::path& file, const Options& options = {}) const;

    /// Predictions of each picture, as `predict` gives them but for the rounding of a runtime that adds up in another order.
    /// As many as the model takes go through it at once, whatever their sizes are.
    std::vector<std::vector<Prediction>> predict_batch(const std::vector<PictureView>& images, const Options& options = {}) const;

    /// A JPEG, PNG or BMP file as RGB pixels, turned upright where the metadata says so.
    Picture read(const std::filesystem::path& file) const;

    /// The model's tensor of batch 1 for a picture, and the geometry that `postprocess` needs to find back into it.
    std::pair<Tensor, Geometry> preprocess(const PictureView& image) const;

    /// The model alone: a tensor of up to `batch_size` pictures to its outputs by name, as many rows as pictures.
    Outputs run(const Tensor& tensor) const;

    /// One picture's outputs, by name and of batch 1, to predictions, best first.
    std::vector<Prediction> postprocess(const Outputs& outputs, const Geometry& geometry, const Options& options = {}) const;

    /// The most pictures that `run` takes at once.
    Index batch_size() const;

    /// What the metadata says: classes, thresholds, sizes.
    const Pipeline& pipeline() const;

    /// The package that these sources lay in when they were compiled.
    static std::filesystem::path default_package();

private:
    struct State;

    explicit ModelWrapper(std::unique_ptr<State> state);

    std::unique_ptr<State> state_;
};

}  // namespace modelport
