;; Asks for secret after secret to learn which exist: the answers are those of the operator, with the path in them.
;; kind: reporter
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; grants: secrets = ["*"]
;; expect: ends there is no secret `no-such-secret`
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $post (text "http://127.0.0.1:{port}/") (text "X-Token") (text "no-such-secret")))
