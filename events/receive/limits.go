package receive

import "time"

// Limits bound what a sender can cost. A field that is zero or less has its default.
type Limits struct {
	Body   int64 // bytes of a body; default 3 MiB
	Header int   // bytes of all header lines; default 256 KiB
	Depth  int   // how deep JSON is nested; default 64
	Values int   // values and names in a body; default 250,000

	ReadTimeout time.Duration // for the body; also how long a request waits for its turn; default 30 s
	CallTimeout time.Duration // for Options.Receive; default 30 s
	Concurrent  int           // requests at a time for each receiver; default 8

	FilterCost    uint64        // of one evaluation, in CEL's own unit; default 1,000,000
	FilterTimeout time.Duration // of one evaluation; default 100 ms

	ReplayWindow  time.Duration // how long a delivery is remembered; default 1 h
	ReplayEntries int           // deliveries remembered for each receiver; default 4096

	Receivers int // default 10,000
}

// fixed bounds, which nobody needed to change yet.
const (
	maxFact       = 1024      // bytes of a fact; a longer one is left out
	maxExpression = 8 << 10   // bytes of a CEL expression
	maxToken      = 16 << 10  // bytes of a JSON Web Token
	maxKeySet     = 256 << 10 // bytes of what an issuer answers
	maxKeys       = 100       // keys of an issuer
	maxIssuers    = 16        // of a receiver
	maxRules      = 64        // variables or validations of an issuer

	keysTimeout  = 10 * time.Second // to fetch the keys of an issuer
	keysLifetime = time.Hour        // until they are fetched anew
	keysPause    = time.Minute      // between two fetches for keys that are not known
	keysBackoff  = 5 * time.Second  // after a fetch that failed
	clockSkew    = time.Minute      // between an issuer and us
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Body:          orDefault(l.Body, 3<<20),
		Header:        orDefault(l.Header, 256<<10),
		Depth:         orDefault(l.Depth, 64),
		Values:        orDefault(l.Values, 250_000),
		ReadTimeout:   orDefault(l.ReadTimeout, 30*time.Second),
		CallTimeout:   orDefault(l.CallTimeout, 30*time.Second),
		Concurrent:    orDefault(l.Concurrent, 8),
		FilterCost:    orDefault(l.FilterCost, 1_000_000),
		FilterTimeout: orDefault(l.FilterTimeout, 100*time.Millisecond),
		ReplayWindow:  orDefault(l.ReplayWindow, time.Hour),
		ReplayEntries: orDefault(l.ReplayEntries, 4096),
		Receivers:     orDefault(l.Receivers, 10_000),
	}
}

func orDefault[T ~int | ~int64 | ~uint64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
