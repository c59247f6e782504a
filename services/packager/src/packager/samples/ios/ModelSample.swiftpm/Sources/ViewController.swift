import ModelWrapper
import UIKit

/// Takes or picks a picture, runs the model, and draws what it found.
final class ViewController: UIViewController, UIImagePickerControllerDelegate, UINavigationControllerDelegate {
    private let imageView = UIImageView()
    private let label = UILabel()
    private let finder = Finder()

    override func viewDidLoad() {
        super.viewDidLoad()
        title = "ModelSample"
        view.backgroundColor = .systemBackground
        imageView.contentMode = .scaleAspectFit
        label.numberOfLines = 0
        label.text = "Choose or take a picture."
        let stack = UIStackView(arrangedSubviews: [imageView, label])
        stack.axis = .vertical
        stack.spacing = 12
        stack.translatesAutoresizingMaskIntoConstraints = false
        label.setContentCompressionResistancePriority(.required, for: .vertical)
        imageView.setContentHuggingPriority(.defaultLow, for: .vertical)
        view.addSubview(stack)
        let guide = view.safeAreaLayoutGuide
        NSLayoutConstraint.activate([
            stack.topAnchor.constraint(equalTo: guide.topAnchor, constant: 12),
            stack.bottomAnchor.constraint(equalTo: guide.bottomAnchor, constant: -12),
            stack.leadingAnchor.constraint(equalTo: guide.leadingAnchor, constant: 12),
            stack.trailingAnchor.constraint(equalTo: guide.trailingAnchor, constant: -12),
        ])
        navigationItem.leftBarButtonItem = UIBarButtonItem(
            barButtonSystemItem: .organize, target: self, action: #selector(choose))
        navigationItem.rightBarButtonItem = UIBarButtonItem(
            barButtonSystemItem: .camera, target: self, action: #selector(take))
        navigationItem.rightBarButtonItem?.isEnabled = UIImagePickerController.isSourceTypeAvailable(.camera)
    }

    @objc private func choose() {
        pick(.photoLibrary)
    }

    @objc private func take() {
        pick(.camera)
    }

    private func pick(_ source: UIImagePickerController.SourceType) {
        let picker = UIImagePickerController()
        picker.sourceType = source
        picker.delegate = self
        present(picker, animated: true)
    }

    func imagePickerController(
        _ picker: UIImagePickerController, didFinishPickingMediaWithInfo info: [UIImagePickerController.InfoKey: Any]
    ) {
        picker.dismiss(animated: true)
        guard let picture = info[.originalImage] as? UIImage else {
            return
        }
        label.text = "…"
        imageView.image = picture
        Task {
            await show(picture)
        }
    }

    private func show(_ picture: UIImage) async {
        guard let image = Drawing.upright(picture) else {
            label.text = "The picture cannot be read."
            return
        }
        do {
            let found = try await finder.find(image)
            imageView.image = Drawing.marked(UIImage(cgImage: image), found)
            label.text = found.isEmpty ? "Nothing found." : found.prefix(5).map { Drawing.caption($0) }.joined(separator: "\n")
        } catch {
            label.text = "\(error)"
        }
    }
}
