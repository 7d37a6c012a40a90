;; Names another host than the one that it may ask.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends Host
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "GET") (text "http://127.0.0.1:{port}/") (text "Host") (text "internal.example.org")))
