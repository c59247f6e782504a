import Foundation
import ModelWrapper

/// What the command line asks for.
struct Request {
    static let usage = [
        "usage: example [options] picture [another …]",
        "Runs this package's model on pictures and prints a JSON list for each.",
        "  --package FOLDER              the unpacked package, by default that which these sources lie in",
        "  --confidence-threshold VALUE",
        "  --iou-threshold VALUE         detectors only",
        "  --max-detections NUMBER       not for classifiers",
        "  --top-k NUMBER                classifiers only",
    ].joined(separator: "\n")
    static let names = ["--package", "--confidence-threshold", "--iou-threshold", "--max-detections", "--top-k"]

    var asked: [String: String] = [:]
    var pictures: [String] = []

    /// nil for a call that is not understood.
    static func parse(_ arguments: [String]) -> Request? {
        var request = Request()
        var place = 0
        while place < arguments.count {
            let word = arguments[place]
            if names.contains(word) && place + 1 < arguments.count {
                request.asked[word] = arguments[place + 1]
                place += 1
            } else if word.hasPrefix("--") {
                return nil
            } else {
                request.pictures.append(word)
            }
            place += 1
        }
        return request.pictures.isEmpty ? nil : request
    }

    /// Throws for what is no number.
    func options() throws -> PredictionOptions {
        return PredictionOptions(
            confidenceThreshold: try value("--confidence-threshold") { Double($0) },
            iouThreshold: try value("--iou-threshold") { Double($0) },
            maxDetections: try value("--max-detections") { Int($0) },
            topK: try value("--top-k") { Int($0) })
    }

    private func value<Value>(_ name: String, _ read: (String) -> Value?) throws -> Value? {
        guard let text = asked[name] else {
            return nil
        }
        guard let number = read(text) else {
            throw ProcessingError.option(name, "must be a number, not \(text)")
        }
        return number
    }
}

/// A line of JSON for each picture.
func run(_ request: Request) throws {
    let options = try request.options()
    let folder = request.asked["--package"].map { URL(fileURLWithPath: $0) } ?? ModelWrapper.packageFolder
    let model = try ModelWrapper(metadata: folder.appendingPathComponent("metadata.json"))
    for path in request.pictures {
        #if canImport(ImageIO)
        let found = try model.predict(contentsOf: URL(fileURLWithPath: path), options)
        print(JSON.array(found.map { $0.json }).text)
        #else
        model.close()
        throw ProcessingError.unreadable("\(path) cannot be read here with \(options): macOS and iOS decode pictures")
        #endif
    }
}

/// `swift run -c release example picture.jpg`; exit code 0, 1 with a sentence, or 2 for a call that is not understood.
do {
    guard let request = Request.parse(Array(CommandLine.arguments.dropFirst())) else {
        print(Request.usage)
        exit(2)
    }
    try run(request)
} catch {
    print("example: \(error)")
    exit(1)
}
