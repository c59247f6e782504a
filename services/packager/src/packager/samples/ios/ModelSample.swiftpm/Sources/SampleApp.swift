import SwiftUI
import UIKit

/// One screen: a picture, and what the model finds in it.
@main
struct SampleApp: App {
    var body: some Scene {
        WindowGroup {
            Screen().ignoresSafeArea(.container, edges: .bottom)
        }
    }
}

private struct Screen: UIViewControllerRepresentable {
    func makeUIViewController(context: Context) -> UINavigationController {
        return UINavigationController(rootViewController: ViewController())
    }

    func updateUIViewController(_ controller: UINavigationController, context: Context) {}
}
