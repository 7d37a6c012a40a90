;; Hands in a text that is no UTF-8.
;; expect: ends invalid utf-8
(func (export "step#run") (param i32 i32) (result i32)
  (call $build.set-summary (text "caf\e9 \ff\fe")) (call $done))
