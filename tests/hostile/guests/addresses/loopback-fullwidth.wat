;; The same in digits that look alike and are folded into the usual ones.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://\ef\bc\91\ef\bc\92\ef\bc\97.0.0.1:{port}/")))
