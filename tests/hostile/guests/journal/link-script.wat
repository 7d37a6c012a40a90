;; A link that is a script: it is left out.
;; expect: answers Success
(func (export "step#run") (param i32 i32) (result i32)
  (call $build.add-link (text "details") (text "javascript:alert(document.cookie)")) (call $done))
