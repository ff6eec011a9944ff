// blueGreenDeploy(service: 'books-ms', image: 'registry:5000/books-ms:1.4')
//
// The step of the library; see blueGreen.groovy.
def call(Map args) {
    blueGreen.blueGreenDeploy(args)
}
