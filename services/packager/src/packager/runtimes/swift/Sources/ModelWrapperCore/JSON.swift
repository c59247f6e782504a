/// A JSON value whose objects keep the order of their members.
///
/// Foundation's decoders give dictionaries, which forget that order; in `output_spec` it says which output is read first.
public enum JSON: Equatable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([Member])

    /// One name and its value.
    public struct Member: Equatable, Sendable {
        public let key: String
        public let value: JSON
    }

    /// The value of a UTF-8 text; throws `JSON.Malformed` for any other.
    public static func parse(_ text: [UInt8]) throws -> JSON {
        var parser = JSONParser(text)
        return try parser.document()
    }

    /// Why a text is not JSON, and at which byte.
    public struct Malformed: Error, CustomStringConvertible {
        public let reason: String
        public let offset: Int

        public var description: String {
            return "not JSON: \(reason) at byte \(offset)"
        }
    }

    /// The value of an object's member, the last of that name; nil for none, and for what is no object.
    public subscript(key: String) -> JSON? {
        guard case .object(let members) = self else {
            return nil
        }
        return members.last(where: { $0.key == key })?.value
    }

    public var asBool: Bool? {
        if case .bool(let value) = self {
            return value
        }
        return nil
    }

    public var asNumber: Double? {
        if case .number(let value) = self {
            return value
        }
        return nil
    }

    /// A number without a fraction.
    public var asInteger: Int? {
        guard case .number(let value) = self else {
            return nil
        }
        return Int(exactly: value)
    }

    public var asText: String? {
        if case .string(let value) = self {
            return value
        }
        return nil
    }

    public var asArray: [JSON]? {
        if case .array(let values) = self {
            return values
        }
        return nil
    }

    public var asMembers: [Member]? {
        if case .object(let members) = self {
            return members
        }
        return nil
    }
}

extension JSON: CustomStringConvertible {
    /// Short, for messages.
    public var description: String {
        switch self {
        case .null:
            return "null"
        case .bool(let value):
            return value ? "true" : "false"
        case .number(let value):
            return Int(exactly: value).map { String($0) } ?? String(value)
        case .string(let value):
            return "\"\(value)\""
        case .array(let values):
            return "an array of \(values.count)"
        case .object(let members):
            return "an object of \(members.count)"
        }
    }
}
