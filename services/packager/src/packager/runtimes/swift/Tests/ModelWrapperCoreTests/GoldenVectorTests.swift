import Foundation
import ModelWrapper
import XCTest

/// Holds the wrapper to the golden vectors of the package that it lies in, or of the one that MODEL_PACKAGE names.
final class GoldenVectorTests: XCTestCase {
    private func verification() throws -> Verification {
        let named = ProcessInfo.processInfo.environment["MODEL_PACKAGE"]
        return try Verification(folder: named.map { URL(fileURLWithPath: $0) } ?? ModelWrapper.packageFolder)
    }

    private func expectAll(_ checks: [Check], line: UInt = #line) {
        XCTAssertFalse(checks.isEmpty, "no checks", line: line)
        for check in checks {
            XCTAssertTrue(check.passed, "\(check.subject) \(check.name): \(check.detail)", line: line)
        }
    }

    func testFiles() throws {
        expectAll(try verification().fileChecks())
    }

    func testPicturesBecomeTheSameTensors() throws {
        expectAll(try verification().preprocessChecks())
    }

    func testOutputsBecomeTheSamePredictions() throws {
        expectAll(try verification().postprocessChecks())
    }

    func testModel() throws {
        #if canImport(CoreML)
        let held = try verification()
        let model = try ModelWrapper(metadata: held.folder.appendingPathComponent("metadata.json"))
        expectAll(held.modelChecks(model))
        #else
        throw XCTSkip("models run on macOS and iOS alone")
        #endif
    }
}
