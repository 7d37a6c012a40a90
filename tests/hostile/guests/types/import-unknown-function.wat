;; Imports a function that its interface does not have.
;; expect: refused cannot be used
(component
  (import "capstan:plugin/log@wit" (instance (export "read-all" (func (result string)))))
  (instance $none) (export "capstan:plugin/step@wit" (instance $none)))
