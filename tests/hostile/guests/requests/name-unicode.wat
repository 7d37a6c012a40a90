;; A header name with a letter beyond ASCII that lower-cases into it.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends the name of a header
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "GET") (text "http://127.0.0.1:{port}/") (text "X-\e2\84\aa") (text "yes")))
