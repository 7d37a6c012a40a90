;; Turns the connection into a tunnel.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends Upgrade
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "GET") (text "http://127.0.0.1:{port}/") (text "Upgrade") (text "h2c")))
