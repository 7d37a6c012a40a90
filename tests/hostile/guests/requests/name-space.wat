;; A header name with a space before the colon, which servers read differently.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends the name of a header
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "GET") (text "http://127.0.0.1:{port}/") (text "Transfer-Encoding ") (text "chunked")))
