package modelport.processing

/*
 * JSON to maps that keep their order, lists, strings, numbers, booleans and null, and back. The order of `output_spec` has a meaning,
 * which the JSONObject of several platforms forgets.
 */

/** Text that is not JSON; the message says what was found where. */
class JsonError(message: String) : IllegalArgumentException(message)

/** The value of a whole text; integers are Long, other numbers Double. JsonError for anything but one JSON value. */
internal fun parseJson(text: String): Any? = JsonReader(text).whole()

/** A JSON text of what [parseJson] gives, on one line; numbers that JSON has no word for become null. */
internal fun jsonText(value: Any?): String = StringBuilder().also { it.appendJson(value) }.toString()

private const val MAX_DEPTH = 64
private const val ESCAPED = "\"\\/bfnrt"
private const val MEANT = "\"\\/\b\u000C\n\r\t"

private class JsonReader(private val text: String) {
    private var at = 0

    fun whole(): Any? {
        val value = value(MAX_DEPTH)
        if (next() != null) fail("the end")
        return value
    }

    private fun value(depth: Int): Any? = when (next()) {
        '{' -> map(depth)
        '[' -> list(depth)
        '"' -> string()
        't' -> word("true", true)
        'f' -> word("false", false)
        'n' -> word("null", null)
        else -> number()
    }

    private fun map(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        members('}', depth) {
            if (next() != '"') fail("a name")
            val name = string()
            expect(':')
            if (name in found) fail("another name than '$name'")
            found[name] = value(depth - 1)
        }
        return found
    }

    private fun list(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        members(']', depth) { found += value(depth - 1) }
        return found
    }

    private inline fun members(end: Char, depth: Int, member: () -> Unit) {
        if (depth == 0) fail("less nesting")
        at++
        if (next() == end) {
            at++
            return
        }
        while (true) {
            member()
            if (next() == end) break
            expect(',')
        }
        at++
    }

    private fun string(): String {
        val found = StringBuilder()
        at++
        while (true) {
            val char = text.getOrNull(at++) ?: fail("the end of a string")
            when {
                char == '"' -> return found.toString()
                char == '\\' -> found.append(escaped())
                char < ' ' -> fail("no control character")
                else -> found.append(char)
            }
        }
    }

    private fun escaped(): Char {
        val char = text.getOrNull(at++) ?: fail("the end of a string")
        if (char != 'u') return MEANT[ESCAPED.indexOf(char).also { if (it < 0) fail("an escape") }]
        val digits = text.substring(at, minOf(at + 4, text.length))
        if (digits.length < 4 || digits.any { Character.digit(it, 16) < 0 }) fail("four hexadecimal digits")
        at += 4
        return digits.toInt(16).toChar()
    }

    private fun number(): Number {
        val found = NUMBER.matchAt(text, at)?.value ?: fail("a value")
        at += found.length
        return found.toLongOrNull() ?: found.toDouble()
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail(word)
        at += word.length
        return value
    }

    private fun expect(char: Char) {
        if (next() != char) fail("'$char'")
        at++
    }

    /** The next character that is not white space, which stays where it is. */
    private fun next(): Char? {
        while (at < text.length && text[at] in " \t\n\r") at++
        return text.getOrNull(at)
    }

    private fun fail(wanted: String): Nothing = throw JsonError("not JSON: $wanted was expected at character $at")

    private companion object {
        val NUMBER = Regex("""-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?""")
    }
}

private fun StringBuilder.appendJson(value: Any?) {
    when (value) {
        is Map<*, *> -> appendAll(value.entries, '{', '}') { (name, entry) ->
            appendQuoted(name.toString()).append(": ")
            appendJson(entry)
        }
        is Iterable<*> -> appendAll(value, '[', ']') { appendJson(it) }
        is Float -> appendJson(value.toDouble())
        is Double -> append(if (value.isFinite()) value.toString() else "null")
        null, is Number, is Boolean -> append(value)
        else -> appendQuoted(value.toString())
    }
}

private inline fun <T> StringBuilder.appendAll(values: Iterable<T>, begin: Char, end: Char, one: (T) -> Unit) {
    append(begin)
    values.forEachIndexed { index, value ->
        if (index > 0) append(", ")
        one(value)
    }
    append(end)
}

private fun StringBuilder.appendQuoted(text: String): StringBuilder {
    append('"')
    for (char in text) {
        val known = MEANT.indexOf(char)
        when {
            char == '/' || (known < 0 && char >= ' ') -> append(char)
            known >= 0 -> append('\\').append(ESCAPED[known])
            else -> append("\\u").append(char.code.toString(16).padStart(4, '0'))
        }
    }
    return append('"')
}
