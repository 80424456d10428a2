package notify

// The rules of providers that are not chats.
var (
	ConcernsCommit = concernsCommit
	ConcernsChange = concernsChange
)

// Code is how a platform's word for an error gets into one of ours.
var Code = code

// The measures of platforms.
const (
	PerRune = iota
	PerByte
	PerUTF16
	PerJSON
)

func measureOf(by int) measure { return [...]measure{perRune, perByte, perUTF16, perJSON}[by] }

// Fit shortens a text.
func Fit(s string, limit, by int) string { return fit(s, limit, measureOf(by)) }

// Width measures a text.
func Width(s string, by int) int { return width(s, measureOf(by)) }

// Plain takes control characters from a text.
var Plain = plain
