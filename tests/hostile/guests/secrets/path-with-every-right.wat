;; Names a path as a secret, with the right to every secret.
;; kind: reporter
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; grants: secrets = ["*"]
;; expect: ends a secret's name
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $post (text "http://127.0.0.1:{port}/") (text "X-Token") (text "../../../../../etc/passwd")))
