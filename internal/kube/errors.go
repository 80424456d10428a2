package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func deleteBody(o metav1.DeleteOptions) ([]byte, error) {
	o.TypeMeta = metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"}
	return json.Marshal(o)
}

// TypeNotServed tells "the server does not know this resource" (a plain 404 of
// its router) from "this object does not exist" (a Status that names it).
func TypeNotServed(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) ||
		status.Status().Details == nil || status.Status().Details.Name == "" && status.Status().Details.Kind == ""
}

// Unreachable reports that no API server answered, as opposed to one that
// refused. A request that the caller's context ended is not that.
func Unreachable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return false
	}
	var netErr net.Error
	var urlErr *url.Error
	return errors.As(err, &netErr) || errors.As(err, &urlErr)
}

// Transient reports what passes by itself: no server answered (in time), or one
// that is starting, overloaded or in trouble. It means nothing once the caller's
// own context has ended.
func Transient(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	}
	return Unreachable(err) || errors.Is(err, context.DeadlineExceeded)
}

// maxReason bounds a server's message in an error: a webhook may say anything.
const maxReason = 1 << 10

// Explain is the error for people: the server's own message, or the network's
// reason without method and URL.
func Explain(err error) string {
	reason := strings.TrimSpace(explain(err))
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return reason
}

func explain(err error) string {
	switch e := err.(type) { //nolint:errorlint // what wraps one of these says more than it does
	case apierrors.APIStatus:
		if e.Status().Message == "" {
			return answered(e.Status())
		}
		return e.Status().Message
	case *url.Error:
		return e.Err.Error()
	}
	return err.Error()
}

func answered(s metav1.Status) string {
	return strings.TrimSpace(fmt.Sprintf("the server answered %d %s", s.Code, s.Reason))
}

// Withheld stands for text that may quote the value of a Secret.
const Withheld = "details withheld: they may quote a secret value"

// Redact returns an error in place of one about a Secret. The server's texts may
// quote values, and whoever logs an error may print all that it wraps. What can
// be asked of the error stays: its code and reason, the fields that were refused,
// and whether the network or the context is to blame.
func Redact(err error) error {
	var status apierrors.APIStatus
	var urlErr *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return &apierrors.StatusError{ErrStatus: redactStatus(status.Status())}
	case errors.As(err, &urlErr), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err // from before there was an answer
	}
	return errors.New("the request failed (" + Withheld + ")")
}

func redactStatus(s metav1.Status) metav1.Status {
	out := metav1.Status{Status: s.Status, Code: s.Code, Reason: s.Reason}
	msg := answered(s)
	var fields []string
	if d := s.Details; d != nil {
		out.Details = &metav1.StatusDetails{Name: d.Name, Group: d.Group, Kind: d.Kind, UID: d.UID, RetryAfterSeconds: d.RetryAfterSeconds}
		for _, c := range d.Causes {
			out.Details.Causes = append(out.Details.Causes, metav1.StatusCause{Type: c.Type, Field: c.Field})
			if c.Field != "" {
				fields = append(fields, c.Field)
			}
		}
	}
	if len(fields) > 0 {
		msg += " for " + strings.Join(fields, ", ")
	}
	out.Message = msg + " (" + Withheld + ")"
	return out
}
