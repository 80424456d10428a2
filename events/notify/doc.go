// Package notify tells chats, incident tools and other platforms about events. Each
// provider is an [events.Sink] for an [events.Recorder], which does the waiting and
// the trying again.
//
// A provider is one file: its options, a constructor that dials and sets what one event
// becomes (see Sink.each) or, where that takes several requests, a send of its own over
// conn.do.
package notify
