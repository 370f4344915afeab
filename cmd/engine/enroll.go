package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/enrollment/acmehttp"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

const aboutEnroll = `Gets a client a certificate from an ACME server with Wire's challenges, such as step-ca, and stores it in an engine's
directory, which is made if there is none. The user signs in elsewhere: the command prints what the ID token has to
carry and reads the token from its standard input, or asks for it at -id-token-url with a POST of JSON.

A client without a credential gets a new key, another keeps the key it has; -new-key replaces it. When the command fails
or is interrupted, the same command goes on where it stopped.`

// maxAnswer bounds what the backend and the identity provider may answer, in bytes.
const maxAnswer = 64 << 10

func enrollCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flags("enroll", "DIR", aboutEnroll, stderr)
	keyFile := set.String("key", "", "file with the database key, 64 hexadecimal digits (default DIR.key; made with a new directory)")
	client := set.String("client", "", "client id, USER:DEVICE@DOMAIN")
	name := set.String("name", "", "display name of the user")
	handle := set.String("handle", "", "handle of the user, without @ and domain")
	team := set.String("team", "", "id of the user's team at the backend")
	suite := set.Uint("suite", 1, "cipher suite: 1, 2, 3, 5 or 7")
	days := set.Int("days", 90, "how long the certificate shall last")
	acme := set.String("acme", "", "URL of the ACME directory")
	root := set.String("root", "", "file with the trust anchor of the certificates, PEM")
	tlsRoot := set.String("tls-root", "", "file with the certificates that HTTPS servers are trusted by, PEM (default the system's)")
	backend := set.String("backend", "", "base URL of the backend, whose /clients/DEVICE/nonce and /access-token are used")
	bearer := set.String("bearer", "", "file with the token that the backend knows the user by")
	idToken := set.String("id-token-url", "", "URL that answers a POST with the ID token (default: standard input)")
	newKey := set.Bool("new-key", false, "certify a new key")
	timeout := set.Duration("timeout", 30*time.Second, "how long a server may take to answer")
	if err := parse(set, args, 1, 1); err != nil {
		return err
	}
	for flag, value := range map[string]string{"client": *client, "name": *name, "handle": *handle, "acme": *acme, "root": *root, "backend": *backend} {
		if value == "" {
			return fmt.Errorf("-%s is missing; \"engine enroll --help\" says what it is", flag)
		}
	}
	w := &enrolWorld{stdout: stdout, stdin: os.Stdin, backend: strings.TrimSuffix(*backend, "/"), idToken: *idToken}
	if err := w.dial(*client, *tlsRoot, *bearer); err != nil {
		return err
	}
	anchor, err := os.ReadFile(*root)
	if err != nil {
		return err
	}
	e, err := openOrCreate(ctx, set.Arg(0), *keyFile)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	cs := conclave.CipherSuite(*suite)
	c, err := e.Client(ctx, conclave.ClientID(*client), conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{cs}, NoCredential: true})
	if err != nil {
		return err
	}
	if _, err := c.RegisterTrustAnchor(ctx, anchor); err != nil && !errors.Is(err, conclave.CodeTrustAnchorAlreadyRegistered) {
		return fmt.Errorf("%s: %w", *root, err)
	}
	kind, err := kindOf(ctx, c, cs, *newKey)
	if err != nil {
		return err
	}
	saved, err := c.Enroll(ctx, conclave.EnrollOptions{
		EnrollmentOptions: conclave.EnrollmentOptions{
			CipherSuite: cs, DisplayName: *name, Handle: *handle, Team: *team, Expiry: time.Duration(*days) * 24 * time.Hour, Directory: *acme,
		},
		Kind: kind, HookTimeout: *timeout,
	}, w.hooks())
	if err != nil {
		return explainEnroll(err)
	}
	return w.print(saved)
}

// openOrCreate opens an engine's directory, making it and its key if there is neither.
func openOrCreate(ctx context.Context, dir, keyFile string) (*conclave.Engine, error) {
	if keyFile == "" {
		keyFile = keyFileOf(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "STORE")); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(keyFile); errors.Is(err, os.ErrNotExist) {
			key := make(conclave.Secret, conclave.KeySize)
			_, _ = rand.Read(key)
			if err := writeKey(keyFile, key); err != nil {
				return nil, err
			}
		}
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: key})
	return e, explain(err, dir)
}

// kindOf keeps the key that the client has, unless a new one is wanted.
func kindOf(ctx context.Context, c *conclave.Client, cs conclave.CipherSuite, newKey bool) (conclave.EnrollmentKind, error) {
	if newKey {
		return conclave.EnrollmentNew, nil
	}
	kind := conclave.EnrollmentNew
	found, err := c.FindCredentials(ctx, conclave.CredentialFilter{CipherSuite: cs})
	for _, f := range found {
		if f.Credential.Type == mlsgroup.CredentialTypeX509 {
			return conclave.EnrollmentRotation, nil
		}
		kind = conclave.EnrollmentActivation
	}
	return kind, err
}

// explainEnroll adds the next step to an error of Enroll, which is for a terminal then.
func explainEnroll(err error) error { return errors.New(printable(nextStep(err).Error())) }

func nextStep(err error) error {
	switch {
	case errors.Is(err, conclave.CodeEnrollmentRefused), errors.Is(err, conclave.CodeCertificateMismatch):
		return fmt.Errorf("%w; this enrolment is over, the next one begins anew", err)
	case errors.Is(err, enrollment.ErrUntrusted):
		return fmt.Errorf("%w; name the server's root certificate with -root and run the command again", err)
	case errors.Is(err, conclave.CodeInvalidArgument), errors.Is(err, conclave.CodeInvalidClientID):
		return err
	}
	return fmt.Errorf("%w; run the command again to go on", err)
}

// enrolWorld is what the command reaches the servers and the user by.
type enrolWorld struct {
	stdout  io.Writer
	stdin   io.Reader
	http    *http.Client // of the backend and the identity provider
	acme    *acmehttp.Client
	backend string
	device  string
	bearer  string
	idToken string
}

// dial prepares the ways to the servers.
func (w *enrolWorld) dial(client, tlsRoot, bearer string) error {
	_, rest, _ := strings.Cut(client, ":")
	w.device, _, _ = strings.Cut(rest, "@")
	if w.device == "" {
		return fmt.Errorf("-client %q is not of the form USER:DEVICE@DOMAIN", client)
	}
	if bearer != "" {
		b, err := os.ReadFile(bearer)
		if err != nil {
			return err
		}
		w.bearer = strings.TrimSpace(string(b))
	}
	transport := http.DefaultTransport
	if tlsRoot != "" {
		b, err := os.ReadFile(tlsRoot)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(b) {
			return fmt.Errorf("%s holds no certificate in PEM", tlsRoot)
		}
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	}
	w.acme = acmehttp.New(transport)
	w.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return nil
}

func (w *enrolWorld) hooks() conclave.EnrollHooks {
	return conclave.EnrollHooks{
		HTTPRequest: func(ctx context.Context, r enrollment.Request) (enrollment.Response, error) {
			answer, err := w.acme.Do(ctx, r)
			return answer, bareError(err)
		},
		Authenticate: w.authenticate, BackendNonce: w.nonce, BackendAccessToken: w.accessToken,
		Progress: func(p conclave.EnrollProgress) {
			switch {
			case p.Err != nil:
				fmt.Fprintf(w.stdout, "%v: again, attempt %d: %v\n", p.Step, p.Attempt, printable(p.Err.Error()))
			case p.Resumed:
				fmt.Fprintf(w.stdout, "%v (going on)\n", p.Step)
			default:
				fmt.Fprintln(w.stdout, p.Step)
			}
		},
	}
}

// printable replaces what a terminal could take for a command: in the end it is servers that have chosen some of the text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// bare returns a URL without what may be secret in it: user, password and query.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// bareError names the URL in an error of package http by bare.
func bareError(err error) error {
	failed, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if u, parsed := url.Parse(failed.URL); parsed == nil {
		return fmt.Errorf("%s %s: %w", failed.Op, bare(u), failed.Err)
	}
	return fmt.Errorf("%s: %w", failed.Op, failed.Err)
}

// do sends a request to the backend or the identity provider.
func (w *enrolWorld) do(ctx context.Context, method, to string, header map[string]string, body []byte) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, nil, bareError(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	answer, err := w.http.Do(r)
	if err != nil {
		return nil, nil, bareError(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err == nil && (answer.StatusCode < 200 || answer.StatusCode > 299) {
		var said struct {
			Label string `json:"label"`
		}
		_ = json.Unmarshal(b, &said) // what else it says is not for a terminal
		err = fmt.Errorf("%s %s: status %d %q", method, bare(r.URL), answer.StatusCode, said.Label)
	}
	return answer, b, err
}

func (w *enrolWorld) ofBackend(what string) (to string, header map[string]string) {
	header = map[string]string{}
	if w.bearer != "" {
		header["Authorization"] = "Bearer " + w.bearer
	}
	return w.backend + "/clients/" + w.device + "/" + what, header
}

func (w *enrolWorld) nonce(ctx context.Context) (string, error) {
	to, header := w.ofBackend("nonce")
	answer, _, err := w.do(ctx, http.MethodHead, to, header, nil)
	if err != nil {
		return "", err
	}
	return answer.Header.Get("Replay-Nonce"), nil
}

func (w *enrolWorld) accessToken(ctx context.Context, dpop string) (string, error) {
	to, header := w.ofBackend("access-token")
	header["DPoP"] = dpop
	answered, body, err := w.do(ctx, http.MethodPost, to, header, nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" {
		return "", fmt.Errorf("%s: no token in the answer", bare(answered.Request.URL))
	}
	return answer.Token, nil
}

// authenticate gets the ID token from wherever the user signs in.
func (w *enrolWorld) authenticate(ctx context.Context, a enrollment.Authentication) (string, error) {
	if w.idToken != "" {
		question, err := json.Marshal(map[string]string{"issuer": a.IdentityProvider, "keyauth": a.KeyAuth, "acme_aud": a.Audience, "claims": a.Claims()})
		if err != nil {
			return "", err
		}
		_, token, err := w.do(ctx, http.MethodPost, w.idToken, map[string]string{"Content-Type": "application/json"}, question)
		return strings.TrimSpace(string(token)), err
	}
	fmt.Fprintf(w.stdout, "\nSign in at   %s\nwith claims  %s\nand enter the ID token: ", printable(a.IdentityProvider), a.Claims())
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() { // ends with its line, or with the process
		text, err := bufio.NewReaderSize(w.stdin, maxAnswer).ReadString('\n')
		if text != "" {
			err = nil
		}
		read <- line{strings.TrimSpace(text), err}
	}()
	select {
	case l := <-read:
		return l.text, l.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// print says what has been stored.
func (w *enrolWorld) print(saved conclave.SavedX509Credential) error {
	chain := saved.Credential.Credential.Certificates
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "\ncredential   %x\nissued to    %s, %s\n", saved.Credential.Ref, leaf.Subject.CommonName, strings.Join(leaf.Subject.Organization, ", "))
	for _, u := range leaf.URIs {
		fmt.Fprintf(w.stdout, "             %s\n", u)
	}
	fmt.Fprintf(w.stdout, "valid        %s to %s\nserial       %x\n", leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339), leaf.SerialNumber)
	for _, point := range saved.NewDistributionPoints {
		fmt.Fprintf(w.stdout, "revocation   %s\n", printable(point))
	}
	for _, der := range chain {
		if _, err := io.WriteString(w.stdout, pki.EncodePEM(der)); err != nil {
			return err
		}
	}
	return nil
}
