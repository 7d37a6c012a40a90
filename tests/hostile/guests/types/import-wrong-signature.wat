;; Imports a function with other parameters than it has.
;; expect: refused cannot be used
(component
  (import "capstan:plugin/log@wit" (instance (export "write" (func (param "level" u64) (param "message" u64)))))
  (instance $none) (export "capstan:plugin/step@wit" (instance $none)))
