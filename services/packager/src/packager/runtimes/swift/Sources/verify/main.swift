import Foundation
import ModelWrapper

/// Repeats the package's golden vectors on this machine; exit code 0 only if all of it is the same.
///
///     swift run -c release verify [--without-model] [PACKAGE]
func verify(_ arguments: [String]) throws -> Bool {
    let withoutModel = arguments.contains("--without-model")
    let folders = arguments.filter { !$0.hasPrefix("--") }
    let folder = folders.first.map { URL(fileURLWithPath: $0) } ?? ModelWrapper.packageFolder
    let verification = try Verification(folder: folder)
    var checks = verification.checksWithoutModel()
    checks.forEach { show($0) }
    if !withoutModel {
        let made = modelChecks(verification)
        made.forEach { show($0) }
        checks += made
    }
    let passed = checks.filter { $0.passed }.count
    print("\(passed) of \(checks.count) checks passed")
    return passed == checks.count
}

func modelChecks(_ verification: Verification) -> [Check] {
    do {
        let model = try ModelWrapper(metadata: verification.folder.appendingPathComponent("metadata.json"))
        return verification.modelChecks(model)
    } catch {
        return [Check(subject: "model", name: "load", passed: false, detail: "\(error)")]
    }
}

func show(_ check: Check) {
    print("\(check.passed ? "pass" : "FAIL")  \(check.subject) \(check.name): \(check.detail)")
}

do {
    let isSame = try verify(Array(CommandLine.arguments.dropFirst()))
    exit(isSame ? 0 : 1)
} catch {
    print("verify: \(error)")
    exit(1)
}
