package acmetest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/conclave-mls/conclave/enrollment"
)

// Bearer is the token by which the backend knows its user over HTTP.
const Bearer = "a user's token"

// ServeHTTP serves the ACME server, the backend's two endpoints under /clients/, and under /id-token an identity provider that signs in whoever asks, as the
// user of a display name, a handle and a domain in the query.
func (w *World) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, enrollment.MaxBody))
	if err != nil {
		http.Error(to, "body", http.StatusBadRequest)
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/clients/"):
		w.serveBackend(to, r)
	case r.URL.Path == "/id-token":
		var asked struct {
			KeyAuth  string `json:"keyauth"`
			Audience string `json:"acme_aud"`
		}
		if err := json.Unmarshal(body, &asked); err != nil {
			http.Error(to, "question", http.StatusBadRequest)
			return
		}
		q := r.URL.Query()
		_, _ = io.WriteString(to, w.Authenticate(asked.KeyAuth, asked.Audience, q.Get("name"), q.Get("handle"), q.Get("domain")))
	default:
		answer := w.Do(enrollment.Request{Method: r.Method, URL: w.Origin + r.URL.Path, Header: enrollment.Header(r.Header), Body: body})
		for name, values := range answer.Header {
			to.Header()[name] = values
		}
		to.WriteHeader(answer.Status)
		_, _ = to.Write(answer.Body)
	}
}

func (w *World) serveBackend(to http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Authorization") != "Bearer "+Bearer:
		to.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/nonce"):
		to.Header().Set("Replay-Nonce", w.BackendNonce())
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/access-token"):
		access, err := w.AccessToken(r.Header.Get("DPoP"))
		if err != nil {
			to.WriteHeader(http.StatusBadRequest)
			_, _ = to.Write(mustJSON(map[string]string{"label": err.Error()}))
			return
		}
		_, _ = to.Write(mustJSON(map[string]any{"token": access, "type": "DPoP", "expires_in": 300}))
	default:
		to.WriteHeader(http.StatusNotFound)
	}
}
