rootProject.name = "model-wrapper"

dependencyResolutionManagement {
    repositories { mavenCentral() }
}
