;; Sends a request while a configuration is only checked.
;; kind: change-source
;; call: check
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends http.fetch, which is not allowed here
(func (export "change-source#check") (param i32 i32) (result i32)
  (drop (call $get (text "http://127.0.0.1:{port}/"))) (call $done))
