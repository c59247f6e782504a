#include "model_wrapper.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>

#include "backends/backend.h"
#include "processing/images.h"
#include "processing/section.h"

namespace modelport {

namespace fs = std::filesystem;

struct ModelWrapper::State {
    Pipeline pipeline;
    /// Pictures that the model takes at once: a number, or 0 for any.
    Index fixed_batch = 0;
    Index batch_size = 1;
    std::unique_ptr<Backend> backend;
};

namespace {

/// How many pictures go through a model at once that takes any number: more would cost memory and save no time.
constexpr Index DYNAMIC_BATCH = 16;
constexpr Index MAX_BATCH = 1 << 16;

void check_format(const Section& root) {
    const std::vector<std::string> known = backend_formats();
    const std::string format = root.section("model_info").text("export_format");
    if (std::find(known.begin(), known.end(), format) != known.end()) return;
    std::string listed;
    for (const std::string& name : known) listed += (listed.empty() ? "" : ", ") + name;
    throw MetadataError("model_info.export_format", "\"" + format + "\"; this build runs: " + listed +
                                                        " (cmake -DMODELPORT_BACKEND chooses another)");
}

/// The first axis of the model's input; 0 where it takes any number.
Index read_batch(const Section& root) {
    const std::vector<Index> shape = root.section("input_spec").integers("shape", -1, Index{1} << 31);
    if (shape.empty() || shape[0] == 0 || shape[0] > MAX_BATCH) {
        throw MetadataError("input_spec.shape", "must begin with -1 or 1 to " + std::to_string(MAX_BATCH) + " pictures");
    }
    return std::max<Index>(shape[0], 0);
}

/// How many pictures go at once through a model that takes any number.
Index read_largest_batch(const Section& root) {
    const Section made_with = root.section("provenance").section("export_options");
    return made_with.integer("max_batch_size", DYNAMIC_BATCH, 1, MAX_BATCH);
}

/// Tensors of one picture each, one after the other.
Tensor stacked(const std::vector<std::pair<Tensor, Geometry>>& parts) {
    Tensor made = parts.front().first;
    made.shape[0] = static_cast<Index>(parts.size());
    std::visit([&parts](auto& values) {
        for (std::size_t i = 1; i < parts.size(); ++i) {
            const auto& more = std::get<std::decay_t<decltype(values)>>(parts[i].first.values);
            values.insert(values.end(), more.begin(), more.end());
        }
    }, made.values);
    return made;
}

/// The tensor with its last picture repeated until there are `count`.
Tensor padded(Tensor tensor, Index count) {
    std::visit([&](auto& values) {
        const auto size = static_cast<std::size_t>(static_cast<Index>(values.size()) / tensor.shape[0]);
        const std::decay_t<decltype(values)> last(values.end() - static_cast<Index>(size), values.end());
        for (; tensor.shape[0] < count; ++tensor.shape[0]) values.insert(values.end(), last.begin(), last.end());
    }, tensor.values);
    return tensor;
}

/// Rows `begin` to before `end` of every output.
Outputs rows(const Outputs& outputs, Index begin, Index end) {
    Outputs made;
    for (const auto& [name, all] : outputs) {
        if (all.shape.empty() || all.shape[0] < end) {
            throw MetadataError("output_spec", "\"" + name + "\" has the shape " + to_string(all.shape) + " for " +
                                                   std::to_string(end) + " pictures");
        }
        const Index size = static_cast<Index>(all.values.size()) / all.shape[0];
        Array& part = made[name];
        part.shape = all.shape;
        part.shape[0] = end - begin;
        part.values.assign(all.values.begin() + begin * size, all.values.begin() + end * size);
    }
    return made;
}

}  // namespace

ModelWrapper::ModelWrapper(const fs::path& package) : ModelWrapper(fs::path(), package / "metadata.json") {}

ModelWrapper::ModelWrapper(const fs::path& model, const fs::path& metadata) : state_(std::make_unique<State>()) {
    const Json json = read_json(metadata);
    const Section root(json, "");
    state_->pipeline = Pipeline::from_metadata(root);
    check_format(root);
    state_->fixed_batch = read_batch(root);
    state_->batch_size = state_->fixed_batch > 0 ? state_->fixed_batch : read_largest_batch(root);
    const fs::path file = model.empty() ? metadata.parent_path() / fs::u8path(state_->pipeline.model_file) : model;
    if (!fs::exists(file)) throw Error("not_found", "there is no model at " + file.u8string());
    state_->backend = open_backend(file, {state_->pipeline.input_name, state_->pipeline.output_names});
}

ModelWrapper::ModelWrapper(ModelWrapper&&) noexcept = default;
ModelWrapper& ModelWrapper::operator=(ModelWrapper&&) noexcept = default;
ModelWrapper::~ModelWrapper() = default;

std::vector<Prediction> ModelWrapper::predict(const PictureView& image, const Options& options) const {
    return std::move(predict_batch({image}, options).front());
}

std::vector<Prediction> ModelWrapper::predict(const fs::path& file, const Options& options) const {
    return predict(PictureView(read(file)), options);
}

std::vector<std::vector<Prediction>> ModelWrapper::predict_batch(const std::vector<PictureView>& images,
                                                                 const Options& options) const {
    std::vector<std::vector<Prediction>> made;
    const std::size_t size = static_cast<std::size_t>(batch_size());
    for (std::size_t begin = 0; begin < images.size(); begin += size) {
        const std::size_t end = std::min(begin + size, images.size());
        std::vector<std::pair<Tensor, Geometry>> prepared;
        for (std::size_t i = begin; i < end; ++i) prepared.push_back(preprocess(images[i]));
        const Outputs outputs = run(prepared.size() == 1 ? prepared.front().first : stacked(prepared));
        for (std::size_t i = 0; i < prepared.size(); ++i) {
            const Index row = static_cast<Index>(i);
            made.push_back(postprocess(rows(outputs, row, row + 1), prepared[i].second, options));
        }
    }
    return made;
}

Picture ModelWrapper::read(const fs::path& file) const { return read_picture(file, state_->pipeline.format.exif); }

std::pair<Tensor, Geometry> ModelWrapper::preprocess(const PictureView& image) const {
    return state_->pipeline.preprocess(image);
}

Outputs ModelWrapper::run(const Tensor& tensor) const {
    const Index count = tensor.shape.empty() ? 0 : tensor.shape[0];
    const Index values = std::visit([](const auto& all) { return static_cast<Index>(all.size()); }, tensor.values);
    if (count < 1 || count > batch_size() || elements(tensor.shape) != values) {
        throw OptionError("tensor", "the shape " + to_string(tensor.shape) + " of " + std::to_string(values) +
                                        " values is not that of 1 to " + std::to_string(batch_size()) + " pictures");
    }
    if (state_->fixed_batch <= count) return state_->backend->run(tensor);
    return rows(state_->backend->run(padded(tensor, state_->fixed_batch)), 0, count);
}

std::vector<Prediction> ModelWrapper::postprocess(const Outputs& outputs, const Geometry& geometry,
                                                  const Options& options) const {
    return state_->pipeline.postprocess(outputs, geometry, options);
}

Index ModelWrapper::batch_size() const { return state_->batch_size; }

const Pipeline& ModelWrapper::pipeline() const { return state_->pipeline; }

fs::path ModelWrapper::default_package() { return fs::u8path(MODELPORT_PACKAGE); }

}  // namespace modelport
