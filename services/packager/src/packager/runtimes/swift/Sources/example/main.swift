import Foundation
import ModelWrapper

/// The predictions of one picture, best first.
func predictions(_ path: String) throws -> [Prediction] {
    let model = try ModelWrapper()
    #if canImport(ImageIO)
    return try model.predict(contentsOf: URL(fileURLWithPath: path))
    #else
    model.close()
    throw ProcessingError.unreadable("\(path) cannot be read here: macOS and iOS decode pictures")
    #endif
}

/// `swift run -c release example picture.jpg`: one line a prediction.
do {
    guard let path = CommandLine.arguments.dropFirst().first else {
        print("usage: example PICTURE")
        exit(2)
    }
    for found in try predictions(path) {
        print(found)
    }
} catch {
    print("example: \(error)")
    exit(1)
}
