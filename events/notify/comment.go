package notify

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gitopskit/gitopskit/events"
)

const (
	// commentsPerPage and commentPages bound the search for a comment.
	commentsPerPage = 30
	commentPages    = 20
	// maxComments is how much of a page is read, in bytes.
	maxComments = 4 << 20
	// maxComment is the longest comment that is written: GitHub's limit is 65,536.
	maxComment = 60000
)

// comment is one that is there already.
type comment struct {
	id     int64
	author string
	body   string
}

// commentForge is how a platform keeps the comments on a change request.
type commentForge struct {
	api
	// list is the address of a page of comments, from 1, the oldest comment first.
	list func(number string, page int) *url.URL
	// read reads a page. It reports false for what is none.
	read func(body []byte) ([]comment, bool)
	// create and edit are where a comment is posted to, and where one is changed.
	create func(number string) *url.URL
	edit   func(number string, id int64) *url.URL
	method string // of a change
	// author asks under which name the credential writes.
	author func(ctx context.Context) (string, error)
}

// comments makes the sink keep one comment for each object on a change request.
func (s *Sink) comments(o RepositoryOptions, f commentForge) *Sink {
	var known atomic.Pointer[string]
	if o.Author != "" {
		known.Store(&o.Author)
	}
	s.send = func(ctx context.Context, e events.Event) error {
		number := Metadata(e, MetaChangeRequest)
		if !isNumber(number) {
			return s.fail(true, "the event's %s is not a number", MetaChangeRequest)
		}
		if known.Load() == nil {
			author, err := f.author(ctx)
			if err != nil {
				return err
			}
			if author == "" {
				return s.fail(false, "the answer does not say under which name the credential writes: set Author")
			}
			known.Store(&author)
		}
		marker := commentMarker(o.Origin, e)
		id, err := s.find(ctx, f, number, marker, *known.Load())
		if err != nil {
			return err
		}
		return f.write(ctx, number, id, marker+"\n\n"+commentText(e))
	}
	return s
}

// write changes a comment, or posts one where there is none.
func (f commentForge) write(ctx context.Context, number string, id int64, text string) error {
	r := request{url: f.create(number), body: encode(map[string]string{"body": text})}
	if id != 0 {
		r.method, r.url = f.method, f.edit(number, id)
	}
	_, err := f.call(ctx, r)
	return err
}

// find looks for the sink's own comment. One of another author that has the marker is
// not taken for it: who may comment could otherwise have theirs changed. A platform
// without pages, as Gitea has been, answers with everything, or the same again.
func (s *Sink) find(ctx context.Context, f commentForge, number, marker, author string) (int64, error) {
	before := int64(0)
	for page := 1; page <= commentPages; page++ {
		reply, err := f.call(ctx, request{method: http.MethodGet, url: f.list(number, page), reply: maxComments})
		if err != nil {
			return 0, err
		}
		all, ok := f.read(reply.Body)
		if !ok {
			return 0, s.fail(true, "the comments that are there are too long to be searched, or are none")
		}
		for _, c := range all {
			if strings.EqualFold(c.author, author) && strings.Contains(c.body, marker) {
				return c.id, nil
			}
		}
		if len(all) != commentsPerPage || all[0].id == before {
			return 0, nil
		}
		before = all[0].id
	}
	return 0, s.fail(true, "there are more than %d comments, which are too many to be searched", commentsPerPage*commentPages)
}

// commentMarker is what nobody sees, and a comment is found by. Whatever a name holds, it
// does not end the marker.
func commentMarker(origin string, e events.Event) string {
	o := e.InvolvedObject
	key := make([]string, 0, 4)
	for _, part := range []string{origin, o.Kind, o.Namespace, o.Name} {
		key = append(key, strings.ReplaceAll(url.PathEscape(part), "--", "%2D%2D"))
	}
	return "<!-- gitops-comment:" + strings.Join(key, "/") + " -->"
}

// commentText tells an event in Markdown. What others wrote is code, which mentions
// nobody and is no markup.
func commentText(e events.Event) string {
	var b strings.Builder
	sign := "ℹ️"
	if isError(e) {
		sign = "⚠️"
	}
	fmt.Fprintf(&b, "%s %s: %s\n\n", sign, codeSpan(title(e)), codeSpan(plain(e.Reason)))
	b.WriteString(codeBlock(fit(plain(e.Message), maxComment/2, perByte)))
	for _, f := range details(e, 30, 100, 300) {
		if f.key != MetaChangeRequest {
			fmt.Fprintf(&b, "\n- %s: %s", codeSpan(f.key), codeSpan(f.value))
		}
	}
	return b.String()
}

// codeSpan is a line of code. More backticks surround it than are in it.
func codeSpan(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return ""
	}
	fence := fenceFor(s, 1)
	return fence + " " + s + " " + fence
}

// codeBlock is a block of code, likewise.
func codeBlock(s string) string {
	fence := fenceFor(s, 3)
	return fence + "\n" + s + "\n" + fence + "\n"
}

// fenceFor returns more backticks than stand together in s, and at least so many.
func fenceFor(s string, least int) string {
	run := 0
	for _, r := range s {
		if r != '`' {
			run = 0
			continue
		}
		run++
		least = max(least, run+1)
	}
	return strings.Repeat("`", least)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
