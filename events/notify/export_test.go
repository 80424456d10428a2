package notify

// The rules of providers that are not chats.
var (
	ConcernsCommit = concernsCommit
	ConcernsChange = concernsChange
)
