# One JSON line a package, for `halftone import`, out of what apt knows.
# usage: awk -v short=FILE -f packages.awk DESCRIPTIONS AVAILABLE
#   DESCRIPTIONS  the Translation-en lists, one after the other (may be empty)
#   AVAILABLE     what `apt-cache dumpavail` prints: one record a package
#   FILE          gets name TAB summary, one line a package
# Run with LC_ALL=C; the input is UTF-8 and passes through unchanged.

BEGIN {
	FS = "\n"
	for (i = 0; i < 32; i++)
		hex[sprintf("%c", i)] = sprintf("\\u%04x", i)
	hex["\n"] = "\\n"
	hex["\t"] = "\\t"
}

# The text as a JSON string.
function quoted(text,   parts, n, i, out, at, c) {
	gsub(/\\/, "&&", text)
	n = split(text, parts, "\"")
	text = parts[1]
	for (i = 2; i <= n; i++)
		text = text "\\\"" parts[i]
	out = ""
	while ((at = match(text, /[\001-\037]/)) > 0) {
		c = substr(text, at, 1)
		out = out substr(text, 1, at - 1) hex[c]
		text = substr(text, at + 1)
	}
	return "\"" out text "\""
}

function forget(   name) {
	for (name in field)
		delete field[name]
	key = ""
}

# One line of a control record: "Name: value", or " more of it".
function take(line,   at) {
	if (line ~ /^[ \t]/) {
		if (key != "")
			field[key] = field[key] "\n" substr(line, 2)
		return
	}
	at = index(line, ":")
	if (at == 0)
		return
	key = substr(line, 1, at - 1)
	sub(/^Description-[a-z][a-zA-Z_]*$/, "Description", key)
	line = substr(line, at + 1)
	sub(/^[ \t]+/, "", line)
	field[key] = line
}

# A description's lines below the summary as prose: a line with one dot parts
# paragraphs, other lines are joined.
function prose(text,   lines, n, i, out) {
	n = split(text, lines, "\n")
	out = ""
	for (i = 2; i <= n; i++) {
		sub(/^[ \t]+/, "", lines[i])
		sub(/[ \t]+$/, "", lines[i])
		if (lines[i] == ".")
			out = out "\n"
		else if (lines[i] != "")
			out = out (out == "" || out ~ /\n$/ ? "" : " ") lines[i]
	}
	sub(/\n+$/, "", out)
	return out
}

function summary_of(text) {
	sub(/\n.*/, "", text)
	return text
}

# "a::b, c::d" as a JSON array.
function tags_of(text,   parts, n, i, out) {
	gsub(/[ \n\t]/, "", text)
	n = split(text, parts, ",")
	out = ""
	for (i = 1; i <= n; i++)
		if (parts[i] != "")
			out = out (out == "" ? "" : ",") quoted(parts[i])
	return "[" out "]"
}

function with(name, value) {
	return value == "" ? "" : ",\"" name "\":" quoted(value)
}

# At most LIMIT bytes, cut between words (the server takes 64 KiB of text).
function at_most(limit, text) {
	if (length(text) <= limit)
		return text
	text = substr(text, 1, limit)
	sub(/[^ \n]*$/, "", text)
	return text
}

function package(   name, text, summary, body) {
	name = field["Package"]
	text = field["Description"]
	if (name == "" || text == "" || name in seen)
		return
	seen[name] = 1
	if (text !~ /\n/ && field["Description-md5"] in long)
		text = long[field["Description-md5"]]
	summary = summary_of(text)
	body = prose(text)
	print "{\"id\":" quoted(name) \
	    with("text", at_most(32000, summary "." (body == "" ? "" : "\n" body))) \
	    with("name", name) with("summary", summary) \
	    with("version", field["Version"]) with("section", field["Section"]) \
	    with("homepage", field["Homepage"]) \
	    (field["Tag"] == "" ? "" : ",\"tags\":" tags_of(field["Tag"])) "}"
	print name "\t" summary > short
}

function record() {
	if (reading == 1 && field["Description-md5"] != "")
		long[field["Description-md5"]] = field["Description"]
	else if (reading == 2)
		package()
	forget()
}

FNR == 1 {
	record()
	reading = FILENAME == ARGV[1] ? 1 : 2
}
/^[ \t]*$/ {
	record()
	next
}
{
	take($0)
}
END {
	record()
}
