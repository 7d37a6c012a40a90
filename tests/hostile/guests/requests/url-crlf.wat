;; A URL with a new line and a header in it: what reaches the server is one line, spelled with %0D%0A or without.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; leaves: server GET /aHTTP/1.1X-Admin:%20yes HTTP/1.1 |
;; expect: answers
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://127.0.0.1:{port}/aHTTP/1.1\0d\0aX-Admin: yes")))
